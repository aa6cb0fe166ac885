"""Runs a program whose former place README showed. This file and those that call it go with the next release."""

import runpy
import sys
from pathlib import Path


def run_moved(former: str, folder: str) -> None:
    """Say where a program is now, and run it.

    Args:
        former: The file in its former place.
        folder: The folder next to it where the program is now.
    """
    program = Path(former).resolve().parent / folder / Path(former).name
    print(f"eval/{program.name} is now eval/{folder}/{program.name}", file=sys.stderr)
    sys.path[0] = str(program.parent)  # where its own modules are
    runpy.run_path(str(program), run_name="__main__")
