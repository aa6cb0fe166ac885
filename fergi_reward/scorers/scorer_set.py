"""The scorers of a reward: given, or loaded by name at first use; parked on the CPU where a GPU holds but one."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import RLock
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from fergi_reward.core.devices import chosen_device
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.parking import CPU, park, visiting
from fergi_reward.scorers.fastest_dtype import DtypeOrAuto, resolved
from fergi_reward.scorers.foreign import ForeignScorer, LoadedScorer
from fergi_reward.scorers.loading import loading
from fergi_reward.scorers.registry import REGISTRY, has_towers, load_scorer, term_name

LOGGER = logging.getLogger(__name__)


@runtime_checkable
class ChecksPrompts(Protocol):
    """A scorer that says of prompts, before a run, whether it can score them."""

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Raise `FergiRewardError` for a prompt that it can never score."""


class ScorerSet:
    """Scorers, in order.

    Args:
        scorers: Scorers, or names of scorers that are loaded at first use.
        checkpoints: By scorer name, a folder or hub id in place of the official checkpoint.
        device: Where they are loaded; by default the CPU. "cuda" is the GPU that is current where the set is made.
        dtype: Data type of the towers of those that are loaded; by default float32. "auto" takes the faster one of
            float32 and bfloat16 on the device where they score.
        offload: Park them on the CPU, and move each to `device` only for its turn.
        check: Looks at each before it is used, and raises where it does not fit.

    Raises:
        FergiRewardError: A checkpoint is given for none of the names.
    """

    def __init__(
        self,
        scorers: Sequence[LoadedScorer | str],
        *,
        checkpoints: Mapping[str, str | Path] | None = None,
        device: torch.device | str | None = None,
        dtype: DtypeOrAuto | None = None,
        offload: bool = False,
        check: Callable[[LoadedScorer], None] | None = None,
    ) -> None:
        self.offload = offload
        self._given = tuple(scorers)
        self._named_device, self._device = device, chosen_device(device)
        self._dtype, self._check = dtype, check
        self._turn = RLock()
        self._checkpoints = dict(checkpoints or {})
        if unknown := set(self._checkpoints) - {scorer for scorer in scorers if isinstance(scorer, str)}:
            raise FergiRewardError(
                f"checkpoints are given for {', '.join(sorted(unknown))}, which the reward does not load"
            )
        self._loaded: dict[int, LoadedScorer] = {}
        for place, scorer in enumerate(scorers):
            if not isinstance(scorer, str):
                self._keep(place, scorer)

    def __getstate__(self) -> dict[str, object]:
        """Scorers and a GPU that were given by name are pickled as names: who unpickles loads and chooses again.

        A process that is started with a pickle reads it before a launcher's code sets its GPU: it chooses at first use.
        """
        given = {place: scorer for place, scorer in self._loaded.items() if not isinstance(self._given[place], str)}
        kept = {name: value for name, value in self.__dict__.items() if name != "_turn"}
        return {**kept, "_loaded": given, "_device": torch.device(self._named_device or "cpu")}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _turn=RLock())

    def loaded(self) -> list[LoadedScorer]:
        """All of them; loads those that were given by name."""
        return [self._at(place) for place in range(len(self._given))]

    def foreign(self) -> list[ForeignScorer]:
        """The foreign scorers; of those given by name, loads only these."""
        asked = [place for place, given in enumerate(self._given) if not (isinstance(given, str) and has_towers(given))]
        return [scorer for scorer in map(self._at, asked) if isinstance(scorer, ForeignScorer)]

    def published(self) -> list[str]:
        """The terms of those whose weights are loaded from where they were published; loads none."""
        asked = {term_name(given) if isinstance(given, str) else given.name: given for given in self._given}
        return [term for term, given in asked.items() if self._is_published(given)]

    def _is_published(self, given: LoadedScorer | str) -> bool:
        if isinstance(given, str):
            return given not in self._checkpoints and has_towers(given)
        return getattr(given, "has_published_weights", False)

    def checking(self) -> list[ChecksPrompts]:
        """Those that may refuse a prompt; of those given by name, loads only the foreign ones and these."""
        asked = [place for place, given in enumerate(self._given) if not isinstance(given, str) or _may_refuse(given)]
        return [scorer for scorer in map(self._at, asked) if isinstance(scorer, ChecksPrompts)]

    def move(self, device: torch.device | str) -> None:
        """Take another device: for those that are loaded now, unless they are parked, and for those that will be."""
        with self._turn, torch.inference_mode(False):
            self._named_device, self._device = device, chosen_device(device)
            for scorer in () if self.offload else self._loaded.values():
                scorer.to(self._device)

    def eval(self) -> None:
        """Put those that are loaded in evaluation mode; all others are loaded in it."""
        for scorer in self._loaded.values():
            scorer.eval()

    @property
    def device(self) -> torch.device:
        """Where they score: where the first one is that was given, else where they are loaded."""
        first = self._loaded.get(0)
        return self._device if first is None or self.offload else first.device

    def _at(self, place: int) -> LoadedScorer:
        if place not in self._loaded:
            with loading():
                self._load(place)
        return self._loaded[place]

    def _load(self, place: int) -> None:
        # Another thread may have done so while this one waited.
        if place not in self._loaded:
            name = str(self._given[place])
            LOGGER.info("loading %s ...", name)
            self._device = chosen_device(self._device)
            device = CPU if self.offload else self._device
            dtype = resolved(self._dtype, self._device)  # a parked one scores elsewhere than where it is loaded
            self._keep(place, load_scorer(name, self._checkpoints.get(name), device=device, dtype=dtype))

    def on_device(self) -> Iterator[LoadedScorer]:
        """Each scorer, on the device where it scores; a parked one is moved there and, after its turn, back."""
        for scorer in self.loaded():
            if not self.offload:
                yield scorer
                continue
            with self._turn, visiting(self._device, scorer):
                yield scorer

    def _keep(self, place: int, scorer: LoadedScorer) -> None:
        if self._check:
            self._check(scorer)
        if self.offload:
            park(scorer)
        self._loaded[place] = scorer


class ParkedScorer:
    """A scorer to be asked alone, such as a judge, that waits on the CPU and moves to `device` only while it scores."""

    def __init__(self, scorer: LoadedScorer, device: torch.device) -> None:
        self.scorer, self._device = scorer, device
        park(scorer)

    @torch.no_grad()
    def __call__(self, pixels: Tensor, prompts: str | Sequence[str]) -> Tensor:
        """Score pixels as a scorer's `forward` does, without gradients."""
        with visiting(self._device, self.scorer):
            return self.scorer(pixels, prompts)

    def weights_digest(self) -> str:
        """The scorer's."""
        return self.scorer.weights_digest()


def _may_refuse(name: str) -> bool:
    return not has_towers(name) or hasattr(REGISTRY.get(name).target, "check_prompts")
