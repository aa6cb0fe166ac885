"""Peak memory, against blocks of a known size."""

import subprocess
import sys
from pathlib import Path

import pytest

EVAL = Path(__file__).parents[2] / "eval"
PROGRAM = """
from peak_memory import peak_memory
before = peak_memory()
block = bytearray(b"x") * 300_000_000
del block
print(before, peak_memory(), flush=True)
input()
"""


def test_a_block_raises_the_peak_by_its_size_also_when_it_is_gone():
    from peak_memory import peak_memory

    ours = peak_memory()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=EVAL
    ) as process:
        before, after = map(float, process.stdout.readline().split())
        assert after - before == pytest.approx(0.3, rel=0.02)
        assert peak_memory(process.pid) == after
        process.communicate("\n")
    assert before < ours  # this process has loaded far more: nothing is inherited from it
