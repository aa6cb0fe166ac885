"""Where the configurations and prompts are: in the package where it is installed, at the top of its repository else."""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def shipped_folder(name: str) -> Path:
    """The folder of shipped files.

    Args:
        name: `configs` or `configs/prompts`.
    """
    installed = PACKAGE / name
    return installed if installed.is_dir() else PACKAGE.parent / name
