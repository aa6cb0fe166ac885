"""The former place of eval/fergi/annotation_guarantee.py."""

from moved import run_moved

run_moved(__file__, "fergi")
