"""The former place of eval/speed/footprint.py."""

from moved import run_moved

run_moved(__file__, "speed")
