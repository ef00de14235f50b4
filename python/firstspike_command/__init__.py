"""The entry point of the command `firstspike`: outside the package, so that Ctrl-C while torch is imported is one line, too."""

import signal
import sys


def main() -> None:
    """Run the command."""
    try:
        from firstspike.cli import app

        app(prog_name="firstspike")
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C while Python ends
