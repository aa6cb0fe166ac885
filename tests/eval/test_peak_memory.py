"""Peak memory, against blocks of a known size."""

import subprocess
import sys
from pathlib import Path

import pytest

SPEED = Path(__file__).parents[2] / "eval" / "speed"
PROGRAM = """
from peak_memory import forget_peak, peak_memory
before = peak_memory()
block = bytearray(b"x") * 300_000_000
del block
after = peak_memory()
forget_peak()
print(before, after, peak_memory(), flush=True)
input()
"""


def test_a_block_raises_the_peak_by_its_size_until_that_is_forgotten():
    from peak_memory import peak_memory

    ours = peak_memory()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=SPEED
    ) as process:
        before, after, forgotten = map(float, process.stdout.readline().split())
        assert after - before == pytest.approx(0.3, rel=0.02)
        assert forgotten == pytest.approx(before, rel=0.1)
        assert peak_memory(process.pid) == pytest.approx(forgotten, rel=0.1)
        process.communicate("\n")
    assert before < ours  # this process has loaded far more: nothing is inherited from it
