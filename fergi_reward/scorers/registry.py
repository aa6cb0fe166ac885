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
    "image_reward": ("image_reward", "ImageRewardScorer", {}),
    "pickscore": ("pickscore", "PickScorer", {}),
    "hps_v2": ("hps", "HPSv2Scorer", {"version": "v2.0"}),
    "hps_v2.0": ("hps", "HPSv2Scorer", {"version": "v2.0"}),
    "hps_v2.1": ("hps", "HPSv2Scorer", {"version": "v2.1"}),
}


def scorer_names() -> list[str]:
    """The names that `load_scorer` knows.

    >>> "pickscore" in scorer_names()
    True
    """
    return list(_SCORERS)


def term_name(name: str) -> str:
    """What the term of a scorer is called in calibrations and rewards: FERGI's `hps_v2` is version 2.0.

    Raises:
        FergiRewardError: The name is unknown.

    >>> term_name("hps_v2.0"), term_name("hps_v2.1")
    ('hps_v2', 'hps_v2.1')
    """
    if name not in _SCORERS:
        raise FergiRewardError(f"there is no scorer {name!r}: choose from {', '.join(_SCORERS)}")
    return "hps_v2" if name == "hps_v2.0" else name


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
