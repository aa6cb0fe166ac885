"""The former place of eval/fergi/seed_stability.py."""

from moved import run_moved

run_moved(__file__, "fergi")
