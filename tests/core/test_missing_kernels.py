"""A program that imports this package prints nothing that it did not ask for."""

import logging
import subprocess
import sys

import pytest

import fergi_reward  # noqa: F401 - it sets the filter


def test_a_program_that_imports_bitsandbytes_prints_nothing_of_its_kernels():
    pytest.importorskip("bitsandbytes")
    program = "import fergi_reward, bitsandbytes"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "gemm_4bit_forward" not in run.stdout + run.stderr


def test_its_other_lines_stay(caplog):
    logger = logging.getLogger("bitsandbytes.backends.cpu.ops")
    logger.warning("Failed to load CPU gemm_4bit_forward from kernels-community: %s", "no module")
    logger.warning("something else")
    assert caplog.messages == ["something else"]
