"""The former place of eval/paper/fergi_paper.py: it is told, and the program there runs. Goes with the next release."""

import runpy
import sys
from pathlib import Path

print("eval/fergi_paper.py is now eval/paper/fergi_paper.py", file=sys.stderr)
runpy.run_path(str(Path(__file__).parent / "paper" / "fergi_paper.py"), run_name="__main__")
