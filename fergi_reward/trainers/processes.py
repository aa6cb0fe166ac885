"""What the processes of a run exchange, and how they share images among them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from fergi_reward.callables.rewards import Rewards

if TYPE_CHECKING:
    from accelerate import Accelerator

Part = TypeVar("Part")


def starts_of_batches(accelerator: "Accelerator", count: int, size: int) -> range:
    """Where this process's batches start among `count` things, which are dealt out batch by batch.

    A batch is the same whatever the number of processes, and so are the bits of its results.
    """
    return range(accelerator.process_index * size, count, accelerator.num_processes * size)


def most_batches(accelerator: "Accelerator", count: int, size: int) -> int:
    """The batches of the process that has the most, by `starts_of_batches`."""
    return len(range(0, count, accelerator.num_processes * size))


def in_order(mine: list[tuple[int, Part]]) -> list[Part]:
    """What all processes made of their batches, in the order of where these start."""
    from accelerate.utils import gather_object

    return [part for _, part in sorted(gather_object(mine), key=_start)]


def _start(pair: tuple[int, object]) -> int:
    return pair[0]


def gathered(accelerator: "Accelerator", rewards: Rewards) -> Rewards:
    """The rewards of all processes, on the CPU, where they are compared one by one."""
    terms = {name: accelerator.gather(term).cpu() for name, term in rewards.terms.items()}
    return Rewards(accelerator.gather(rewards.total).cpu(), terms)


def mean_of(figures: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of scalars by name."""
    return {name: torch.stack([of_one[name] for of_one in figures]).mean() for name in figures[0]}


def means(accelerator: "Accelerator", figures: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
    """The mean of scalars by name, over batches and processes."""
    found = accelerator.reduce(mean_of(figures), reduction="mean")
    return dict(zip(found, torch.stack(list(found.values())).tolist(), strict=True))
