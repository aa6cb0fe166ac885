"""The scorers by name. Nothing heavy is imported before a scorer is asked for."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fergi_reward.errors import FergiRewardError

if TYPE_CHECKING:
    import torch

    from fergi_reward.scorers.base import Scorer

# Name -> file in this folder, class, options of its from_pretrained.
_SCORERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "pickscore": ("pickscore", "PickScorer", {}),
}


def scorer_names() -> list[str]:
    """The names that `load_scorer` knows.

    >>> "pickscore" in scorer_names()
    True
    """
    return list(_SCORERS)


def load_scorer(
    name: str,
    checkpoint: str | Path | None = None,
    *,
    device: "torch.device | str | None" = None,
    dtype: "torch.dtype | None" = None,
) -> "Scorer":
    """Load a scorer, frozen, in evaluation mode.

    Args:
        name: One of `scorer_names()`.
        checkpoint: A folder in the hub's layout or a hub id; by default the official one at its pinned revision.
        device: By default the CPU.
        dtype: Of the towers, by default float32; the score is float32 in any case.

    Raises:
        FergiRewardError: The name is unknown, or the checkpoint cannot be loaded.
    """
    scorer_class, options = _found(name)
    if dtype is not None:
        options = options | {"dtype": dtype}
    return scorer_class.from_pretrained(checkpoint, device=device, **options)


def _found(name: str) -> tuple[type["Scorer"], dict[str, Any]]:
    if name not in _SCORERS:
        raise FergiRewardError(f"there is no scorer {name!r}: choose from {', '.join(_SCORERS)}")
    file, class_name, options = _SCORERS[name]
    return getattr(import_module(f"fergi_reward.scorers.{file}"), class_name), options
