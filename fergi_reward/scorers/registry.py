"""The scorers by name. Nothing heavy is imported before a scorer is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fergi_reward.errors import FergiRewardError
from fergi_reward.published import SCORERS, shown_bytes

if TYPE_CHECKING:
    import torch

    from fergi_reward.scorers.base import Scorer


@dataclass(frozen=True)
class ScorerEntry:
    """One line of the registry.

    Attributes:
        term: What the scorer's term is called in calibrations and rewards.
        file: The module in this folder.
        class_name: The class in it.
        options: Of its `from_pretrained`.
    """

    term: str
    file: str
    class_name: str
    options: Mapping[str, Any] = field(default_factory=dict)


_SCORERS = {
    "image_reward": ScorerEntry("image_reward", "image_reward", "ImageRewardScorer"),
    "pickscore": ScorerEntry("pickscore", "pickscore", "PickScorer"),
    "hps_v2": ScorerEntry("hps_v2", "hps", "HPSv2Scorer", {"version": "v2.0"}),
    "hps_v2.0": ScorerEntry("hps_v2", "hps", "HPSv2Scorer", {"version": "v2.0"}),
    "hps_v2.1": ScorerEntry("hps_v2.1", "hps", "HPSv2Scorer", {"version": "v2.1"}),
    "clip": ScorerEntry("clip", "clip", "CLIPScorer"),
    "aesthetic": ScorerEntry("aesthetic", "aesthetic", "AestheticScorer"),
}


def term_name(name: str) -> str:
    """What the term of a scorer is called in calibrations and rewards: FERGI's `hps_v2` is version 2.0.

    Raises:
        FergiRewardError: The name is unknown.

    >>> term_name("hps_v2.0"), term_name("hps_v2.1")
    ('hps_v2', 'hps_v2.1')
    """
    return _entry(name).term


def scorer_table() -> list[dict[str, str]]:
    """A row for each name that `load_scorer` knows: name, term, license, checkpoint, pinned revision, files, size.

    Licenses and files are those of all repositories that the scorer needs, the sizes about right.
    """
    return [
        {
            "name": name,
            "term": entry.term,
            "license": "; ".join(dict.fromkeys(repository.license for repository in SCORERS[name])),
            "checkpoint": SCORERS[name][0].name,
            "revision": SCORERS[name][0].revision,
            "files": ", and ".join(map(str, SCORERS[name])),
            "size": shown_bytes(sum(size for repository in SCORERS[name] for size in repository.files.values())),
        }
        for name, entry in _SCORERS.items()
    ]


def load_scorer(
    name: str,
    checkpoint: str | Path | None = None,
    *,
    device: "torch.device | str | None" = None,
    dtype: "torch.dtype | None" = None,
) -> "Scorer":
    """Load a scorer, frozen, in evaluation mode.

    Args:
        name: One of the names in `scorer_table()`.
        checkpoint: A folder in the hub's layout or a hub id; by default the official one at its pinned revision.
        device: By default the CPU.
        dtype: Of the towers, by default float32; the score is float32 in any case.

    Raises:
        FergiRewardError: The name is unknown, or the checkpoint cannot be loaded.
    """
    entry = _entry(name)
    options = entry.options if dtype is None else {**entry.options, "dtype": dtype}
    return _class(entry).from_pretrained(checkpoint, device=device, **options)


def _entry(name: str) -> ScorerEntry:
    if name not in _SCORERS:
        raise FergiRewardError(f"there is no scorer {name!r}: choose from {', '.join(_SCORERS)}")
    return _SCORERS[name]


def _class(entry: ScorerEntry) -> type["Scorer"]:
    return getattr(import_module(f"fergi_reward.scorers.{entry.file}"), entry.class_name)
