"""Benchmarks of human preferences between pictures, each in the layout that it has on the hub."""

from typing import TYPE_CHECKING

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.registry import Registry, blaming

if TYPE_CHECKING:
    from fergi_reward.evaluation.benchmarks.rankings import Benchmark

# By name, what reads a folder in the hub's layout, or a hub id; None: the official one.
BENCHMARKS = Registry(
    "benchmark",
    {
        "pickapic": "fergi_reward.evaluation.benchmarks.pickapic:read",
        "pickapic_test": "fergi_reward.evaluation.benchmarks.pickapic:read_test",
        "hpdv2": "fergi_reward.evaluation.benchmarks.hpdv2:read",
        "imagerewarddb": "fergi_reward.evaluation.benchmarks.imagerewarddb:read",
    },
)


def read_benchmark(name: str, place: str | None) -> "Benchmark":
    """Read a benchmark except for its pictures.

    Args:
        name: One of the registry.
        place: A folder in its layout, or a hub id; None: the official one.

    Raises:
        FergiRewardError: There is none of that name, or it is not there in that layout.
    """
    from fergi_reward.evaluation.benchmarks.rankings import Benchmark

    found = BENCHMARKS.get(name)
    with blaming(f"the benchmark {name!r}", found.origin):
        benchmark = found.target(place)
    if not isinstance(benchmark, Benchmark):
        raise FergiRewardError(
            f"the benchmark {name!r} ({found.origin}) gave a {type(benchmark).__name__}, must give a Benchmark"
        )
    return benchmark
