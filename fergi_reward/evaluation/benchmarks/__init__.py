"""Benchmarks of human preferences between pictures, each in the layout that it has on the hub."""

from collections.abc import Callable
from functools import partial

from fergi_reward.evaluation.benchmarks import hpdv2, imagerewarddb, pickapic
from fergi_reward.evaluation.benchmarks.rankings import Benchmark

# By name, what reads a folder in the hub's layout, or a hub id; None: the official one.
BENCHMARKS: dict[str, Callable[[str | None], Benchmark]] = {
    "pickapic": pickapic.read,
    "pickapic_test": partial(pickapic.read, split="test"),
    "hpdv2": hpdv2.read,
    "imagerewarddb": imagerewarddb.read,
}
