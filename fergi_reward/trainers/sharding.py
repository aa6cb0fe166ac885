"""A network shared out among processes: each keeps a shard of every weight, and gathers one block at a time to compute.

By torch's `fully_shard` (FSDP2) and not by accelerate's: that prepares one network and its optimiser together, where a
run has two networks after full fine-tuning, adapters that stay whole, and values that are swapped between passes.
All processes gather together: each must call the network as often as all others, forward and backward.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import torch
from torch import Tensor, nn


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """The parts that are gathered one at a time, as the network's class names them; inner ones come first."""
    names = set(getattr(network, "_no_split_modules", None) or ())
    found = [part for part in network.modules() if class_of(part).__name__ in names]
    return found[::-1]


def shard(network: nn.Module, device: torch.device, whole: Sequence[nn.Parameter] = ()) -> None:
    """Share the weights of a network out among all processes, and move it to `device`, one block after the other.

    Args:
        network: On any device; its parameters become those that a process keeps.
        device: Where shards are kept, and blocks gathered.
        whole: Parameters of which each process keeps all.
    """
    from torch.distributed import get_world_size, init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (get_world_size(),))
    for part in (*blocks_of(network), network):
        # Also the outermost part is let go of after a pass: values may be swapped before the next.
        fully_shard(part, mesh=mesh, reshard_after_forward=True, ignored_params=set(whole))
    for parameter in whole:
        parameter.data = parameter.data.to(device)


def most_kept(parameters: Iterable[Tensor], processes: int) -> int:
    """Numbers of the process that keeps the most: the rows of each weight are shared out, and what is left over too."""
    shapes = [parameter.shape for parameter in parameters]
    return sum(math.ceil(shape[0] / processes) * math.prod(shape[1:]) for shape in shapes)


def gathered_sizes(network: nn.Module, whole: Set[int]) -> list[int]:
    """Bytes of each part that is gathered in one piece, the outermost last.

    Args:
        network: Not shared out.
        whole: The `id` of parameters of which each process keeps all.
    """
    seen, sizes = set(whole), []
    for part in (*blocks_of(network), network):
        own = {id(parameter): parameter.nbytes for parameter in part.parameters() if id(parameter) not in seen}
        seen |= set(own)
        sizes.append(sum(own.values()))
    return sizes


def class_of(module: nn.Module) -> type[nn.Module]:
    """The class of a module before it was shared out, for which torch makes a subclass with another name."""
    kinds = type(module).__mro__
    return kinds[2] if kinds[1].__name__ == "FSDPModule" else kinds[0]


def is_shard(value: object) -> bool:
    """Whether a value is a tensor of which other processes have the rest."""
    return hasattr(value, "full_tensor")  # torch's DTensor, whose import takes seconds


def gathered(value: Tensor) -> Tensor:
    """The whole tensor. Of a shard all processes must ask for it."""
    whole: Tensor = getattr(value, "full_tensor", lambda: value)()
    return whole


def collected(state: Any, keeps: bool) -> Any:  # noqa: ANN401
    """A state whose shards are whole tensors on the CPU, gathered one after the other. All processes must ask for it.

    Args:
        state: Dicts, lists, and what they hold.
        keeps: Whether this process needs them; None is in their places if not.
    """
    if is_shard(state):
        whole = gathered(state)
        return whole.cpu() if keeps else None
    if isinstance(state, dict):
        return {name: collected(part, keeps) for name, part in state.items()}
    if isinstance(state, list):
        return [collected(part, keeps) for part in state]
    return state


def shard_like(value: Tensor, like: object) -> Tensor:
    """What this process keeps of a whole tensor where `like` is a shard; else the tensor itself."""
    if not is_shard(like) or is_shard(value):
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    # Without a source: every process has read the same file.
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


class Whole(Mapping[str, Tensor]):
    """Tensors by their number, each gathered when it is looked up. All processes must look up the same.

    Args:
        tensors: Shards or whole ones.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self._tensors = {str(number): value for number, value in enumerate(tensors)}

    def __getitem__(self, name: str) -> Tensor:
        return gathered(self._tensors[name].detach())

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)
