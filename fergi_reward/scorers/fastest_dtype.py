"""The data type "auto": float32 or bfloat16, whichever is faster where the scorers run. It is measured for a moment.

That depends on the processor: with instructions for bfloat16 (AVX512-BF16, AMX) matrix products, which is most of what
towers compute, take less time than in float32, and without them more. Scores are float32 in any case; docs/SCORERS.md
says how far bfloat16 moves them, and what was measured on which processor.
"""

from functools import cache
from typing import Literal

import torch

from fergi_reward.core.devices import chosen_device
from fergi_reward.scorers.cpu_kernels import FastCPUKernels

DtypeOrAuto = torch.dtype | Literal["auto"]
# bfloat16 is taken where float32 needs at least so many times its seconds: less is not worth a less exact score.
LEAST_GAIN = 1.15
# A layer of ImageReward's image tower, four pictures: 7 GFLOP.
ROWS, WIDTH, INNER = 4 * 197, 1024, 4096


def resolved(dtype: DtypeOrAuto | None, device: torch.device | str | None) -> torch.dtype | None:
    """The data type that is meant on a device; None stays None.

    Args:
        dtype: "auto" is measured, once per process and device.
        device: Where the towers run; by default the CPU.
    """
    return fastest_dtype(chosen_device(device)) if dtype == "auto" else dtype


@cache
def fastest_dtype(device: torch.device) -> torch.dtype:
    """Measure a linear layer in float32 and bfloat16, about a second in all on a CPU, and choose."""
    try:
        exact, rounded = (_seconds(device, dtype) for dtype in (torch.float32, torch.bfloat16))
    except (RuntimeError, TypeError):  # a device that has no bfloat16
        return torch.float32
    return faster(exact, rounded)


def faster(float32_seconds: float, bfloat16_seconds: float) -> torch.dtype:
    """The data type to take.

    >>> faster(1.0, 0.4), faster(1.0, 0.95), faster(0.59, 0.90)
    (torch.bfloat16, torch.float32, torch.float32)
    """
    return torch.bfloat16 if float32_seconds > LEAST_GAIN * bfloat16_seconds else torch.float32


@torch.no_grad()
def _seconds(device: torch.device, dtype: torch.dtype) -> float:
    from torch.utils.benchmark import Timer  # which prints a warning where there is a CUDA compiler and no GPU

    rows, weight = (
        torch.ones(ROWS, WIDTH, device=device, dtype=dtype),
        torch.ones(INNER, WIDTH, device=device, dtype=dtype),
    )

    def run() -> None:
        with FastCPUKernels():
            torch.nn.functional.linear(rows, weight)

    timer = Timer("run()", globals={"run": run}, num_threads=torch.get_num_threads())
    timer.timeit(1)
    return float(min(timer.timeit(1).median for _ in range(5)))
