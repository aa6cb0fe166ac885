"""The former place of eval/speed/throughput.py."""

from moved import run_moved

run_moved(__file__, "speed")
