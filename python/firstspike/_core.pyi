"""What this machine's processor can run."""

def instruction_sets() -> list[str]:
    """The x86-64 levels ("v2", "v3", "v4") that the processor has, oldest first; empty elsewhere."""
