"""Options that the commands of the reproduction share, checked before anything is run."""

from pathlib import Path

from firstspike._base.files import check_folder, is_writable
from firstspike.data import user_root


def check_data(folder: str | None) -> None:
    """Raise ValueError unless the folder of `--data`, or of the environment, is there."""
    try:
        user_root(folder)
    except ValueError as error:
        text = str(error)
        raise ValueError(f"--data{text.removeprefix('root')}" if text.startswith("root must") else text) from None


def check_results(folder: Path | None) -> None:
    """Raise ValueError unless `--results` can be made and written to."""
    if folder is not None:
        check_folder("--results", folder)


def check_picture(file: Path) -> None:
    """Raise ValueError unless the file of `--png` can be written."""
    if not is_writable(file):
        raise ValueError(f"--png must name a file in a folder that can be written to, got {str(file)!r}")
