"""The former place of eval/paper/fergi_paper.py."""

from moved import run_moved

run_moved(__file__, "paper")
