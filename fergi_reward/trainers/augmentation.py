"""Captions that Diffusion-DPO drops and pictures that it mirrors, drawn from a pair's number alone."""

from dataclasses import dataclass, replace
from typing import Literal

import torch

from fergi_reward.core.seeds import generator
from fergi_reward.trainers.pairs import FramedPair, Pair, frame_pair


@dataclass(frozen=True)
class Augmentation:
    """What is changed about the pairs that are trained on; by default nothing.

    Attributes:
        seed: Seed of what is drawn: the same pair of a run is changed alike, wherever the run was resumed.
        caption_dropout: Share of pairs whose caption is empty, for both pictures, in [0, 1].
        random_flip: Mirror left and right with probability 1/2: both pictures of a pair at a time, each picture by
            itself, or none.
    """

    seed: int = 0
    caption_dropout: float = 0.0
    random_flip: Literal["none", "pair", "picture"] = "none"

    def framed(self, number: int, pair: Pair, height: int, width: int) -> FramedPair | None:
        """The `number`-th pair that was ever taken, changed and cut to a size; None where a picture cannot be read."""
        if self._drawn(number, "caption") < self.caption_dropout:
            pair = replace(pair, caption="")
        return frame_pair(pair, height, width, flipped=self._flipped(number))

    def _flipped(self, number: int) -> tuple[bool, bool]:
        if self.random_flip == "none":
            return False, False
        better = self._drawn(number, "flip") < 0.5
        return better, better if self.random_flip == "pair" else self._drawn(number, "flip of the worse") < 0.5

    def _drawn(self, number: int, what: str) -> float:
        """Uniform in [0, 1)."""
        return torch.rand((), generator=generator(self.seed, what, number)).item()
