"""The scorers of a reward: given, or loaded by name at first use; parked on the CPU where a GPU holds but one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from fergi_reward.errors import FergiRewardError
from fergi_reward.scorers.base import Scorer
from fergi_reward.scorers.registry import load_scorer


class ScorerSet:
    """Scorers, in order.

    Args:
        scorers: Scorers, or names of scorers that are loaded at first use.
        checkpoints: By scorer name, a folder or hub id in place of the official checkpoint.
        device: Where they are loaded; by default the CPU.
        dtype: Of the towers of those that are loaded; by default float32.
        offload: Park them on the CPU, and move each to `device` only for its turn.
        check: Looks at each before it is used, and raises where it does not fit.

    Raises:
        FergiRewardError: A checkpoint is given for none of the names.
    """

    def __init__(
        self,
        scorers: Sequence[Scorer | str],
        *,
        checkpoints: Mapping[str, str | Path] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        offload: bool = False,
        check: Callable[[Scorer], None] | None = None,
    ) -> None:
        self.offload = offload
        self._given = tuple(scorers)
        self._device, self._dtype, self._check = device, dtype, check
        self._checkpoints = dict(checkpoints or {})
        if unknown := set(self._checkpoints) - {scorer for scorer in scorers if isinstance(scorer, str)}:
            raise FergiRewardError(
                f"checkpoints are given for {', '.join(sorted(unknown))}, which the reward does not load"
            )
        self._loaded: dict[int, Scorer] = {}
        for place, scorer in enumerate(scorers):
            if isinstance(scorer, Scorer):
                self._take(place, scorer)

    def __getstate__(self) -> dict[str, object]:
        """Scorers that were given by name are pickled as names: who unpickles loads them again."""
        given = {place: scorer for place, scorer in self._loaded.items() if isinstance(self._given[place], Scorer)}
        return {**self.__dict__, "_loaded": given}

    def loaded(self) -> list[Scorer]:
        """All of them; those that were given by name are loaded now."""
        for place, name in enumerate(self._given):
            if place not in self._loaded:
                device = "cpu" if self.offload else self._device
                where = self._checkpoints.get(str(name))
                self._take(place, load_scorer(str(name), where, device=device, dtype=self._dtype))
        return [self._loaded[place] for place in range(len(self._given))]

    def awake(self) -> Iterator[Scorer]:
        """Each scorer, where it is to score; one that is parked is moved there and, after its turn, back."""
        for scorer in self.loaded():
            if self.offload:
                scorer.to(self._device or "cpu")
            try:
                yield scorer
            finally:
                if self.offload:
                    scorer.to("cpu")

    def _take(self, place: int, scorer: Scorer) -> None:
        if self._check:
            self._check(scorer)
        self._loaded[place] = scorer
