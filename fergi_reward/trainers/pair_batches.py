"""Preference pairs as the network sees them, batch by batch, shared out among the processes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.transfers import sent
from fergi_reward.diffusion.conditioning import Conditioning
from fergi_reward.trainers.augmentation import Augmentation
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.loop import Loop
from fergi_reward.trainers.pairs import DAMAGED, FramedPair, Pair, Pairs
from fergi_reward.trainers.processes import starts_of_batches

Made = TypeVar("Made")
# Batches in a row with damaged pictures that are replaced.
ATTEMPTS = 20


@dataclass(frozen=True)
class PairBatch:
    """B pairs as latents; better pictures first, then the worse ones.

    Attributes:
        latents: (2 B, C, H, W).
        conditioning: Encoded captions of 2 B pictures.
        confidences: (B,) probability that the better one is better.
        numbers: The number of each pair among all that were ever taken; its noise is drawn from it.
    """

    latents: Tensor
    conditioning: Conditioning
    confidences: Tensor
    numbers: Sequence[int]


class PairBatches:
    """Batches of `train_batch_size` pairs.

    Args:
        loop: The run's loop.
        pairs: What is learned from.
        confidence: From the confidence that a pair states, or None, the probability that its better picture is better.
        augmentation: What is changed about pairs that are trained on.
    """

    def __init__(
        self,
        loop: Loop[TrainerConfig],
        pairs: Pairs,
        confidence: Callable[[float | None], float],
        augmentation: Augmentation,
    ) -> None:
        self._config, self._model, self._place = loop.config, loop.model, loop.accelerator
        self._pairs, self._confidence, self._augmentation = pairs, confidence, augmentation

    def of_update(self) -> Iterator[PairBatch]:
        """The batches of the next optimiser step."""
        return self._made([self.next] * self._config.accumulation_steps)

    def of(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, PairBatch]]:
        """This process's batches of some pairs, and where each starts; those without a readable pair are left out."""
        size = self._config.train_batch_size
        starts = starts_of_batches(self._place, len(pairs), size)
        batches = self._made([partial(self._from, start, pairs[start : start + size]) for start in starts])
        yield from ((start, batch) for start, batch in zip(starts, batches, strict=True) if batch)

    def blank(self) -> PairBatch:
        """A pair without pictures, for a pass whose result nobody reads."""
        family, conditioning = self._model.family, self._model.encoded([""])
        return PairBatch(
            latents=torch.zeros(2, *family.latent_shape, device=self._place.device),
            conditioning=family.cropped(
                Conditioning.cat([conditioning, conditioning]), [family.picture_size] * 2, [(0, 0)] * 2
            ),
            confidences=torch.ones(1, device=self._place.device),
            numbers=[0],
        )

    def next(self) -> PairBatch:
        """This process's share of the next pairs. All processes go past the same rows, and none twice.

        Raises:
            FergiRewardError: Damaged pictures, one after another.
        """
        from accelerate.utils import gather_object

        found = list[tuple[int, FramedPair]]()
        for attempt in range(ATTEMPTS):
            shares = gather_object([self._config.train_batch_size - len(found)])
            if not any(shares):
                return self._batch(found)
            if attempt:
                self._pairs.skipped[DAMAGED] += sum(shares)
            numbers = range(self._pairs.taken, self._pairs.taken + sum(shares))
            taken = list(zip(numbers, self._pairs.take(sum(shares)), strict=True))
            start = sum(shares[: self._place.process_index])
            mine = taken[start : start + shares[self._place.process_index]]
            found += self._readable(mine, self._augmentation)
        raise FergiRewardError(
            f"{self._pairs.table.name!r} gave damaged pictures {ATTEMPTS} times in a row: give other pairs"
        )

    def _made(self, batches: Sequence[Callable[[], Made]]) -> Iterator[Made]:
        """The batches; those of an update are made together where text encoders wait on the CPU, to move them once."""
        together = self._config.accumulation_steps if self._config.offload_encoders else 1
        for start in range(0, len(batches), together):
            with self._model.encoded.encoders_on_device():
                made = [make() for make in batches[start : start + together]]
            yield from made

    def _from(self, start: int, pairs: Sequence[Pair]) -> PairBatch | None:
        # Numbers below 0, which no pair of the training has.
        readable = self._readable([(-1 - row, pair) for row, pair in enumerate(pairs, start)], Augmentation())
        return self._batch(readable) if readable else None

    def _readable(
        self, numbered: Sequence[tuple[int, Pair]], augmentation: Augmentation
    ) -> list[tuple[int, FramedPair]]:
        """Those whose pictures can be read."""
        size = self._model.family.picture_size
        framed = [(number, augmentation.framed(number, pair, *size)) for number, pair in numbered]
        return [(number, pair) for number, pair in framed if pair]

    def _batch(self, numbered: Sequence[tuple[int, FramedPair]]) -> PairBatch:
        """Pairs as the network sees them."""
        pairs = [pair for _, pair in numbered]
        pictures = [pair.better for pair in pairs] + [pair.worse for pair in pairs]
        conditioning = self._model.encoded([pair.caption for pair in pairs])
        sizes, corners = [picture.size for picture in pictures], [picture.corner for picture in pictures]
        return PairBatch(
            latents=self._model.family.encode_pictures(torch.stack([picture.pixels for picture in pictures])),
            conditioning=self._model.family.cropped(Conditioning.cat([conditioning, conditioning]), sizes, corners),
            confidences=sent(torch.tensor([self._confidence(pair.confidence) for pair in pairs]), self._place.device),
            numbers=[number for number, _ in numbered],
        )
