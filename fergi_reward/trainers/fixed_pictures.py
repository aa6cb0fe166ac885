"""The images that a run draws with the same prompts and noise again and again, to see how the model changes."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.seeds import generator
from fergi_reward.trainers.model import TrainedModel
from fergi_reward.trainers.processes import in_order, most_batches, starts_of_batches

if TYPE_CHECKING:
    from accelerate import Accelerator


class FixedPictures:
    """Draws them, shared out among the processes.

    Args:
        model: What draws.
        accelerator: accelerate's view of the run's processes.
    """

    def __init__(self, model: TrainedModel, accelerator: "Accelerator") -> None:
        self._model, self._accelerator = model, accelerator

    def mine(self, purpose: str, prompts: Sequence[str]) -> Iterator[tuple[int, Tensor]]:
        """This process's batches (B, 3, H, W) in [0, 1], and where each starts among the prompts.

        Args:
            purpose: Names the noise; the prompts of each purpose stay encoded.
            prompts: The prompts of all processes.
        """
        size, seed = self._model.config.picture_batch_size, self._model.config.seed
        starts = starts_of_batches(self._accelerator, len(prompts), size)
        batches = {start: prompts[start : start + size] for start in starts}
        self._model.encoded.keep(purpose, [prompt for batch in batches.values() for prompt in batch])
        for start, batch in batches.items():
            generators = [generator(seed, purpose, start + row) for row in range(len(batch))]
            pixels = self._model.draw(batch, generators)
            _check_finite(pixels)
            yield start, pixels
        if self._model.is_sharded and len(batches) < most_batches(self._accelerator, len(prompts), size):
            self._model.draw(prompts[:1], [generator(seed, purpose, 0)])  # for the others: nobody looks at it

    def all(self, purpose: str, prompts: Sequence[str]) -> Tensor:
        """The images of all processes, on the CPU."""
        return torch.cat(in_order([(start, pixels.cpu()) for start, pixels in self.mine(purpose, prompts)]))


def _check_finite(pixels: Tensor) -> None:
    """Refuse what a file would show as black pictures.

    Raises:
        FergiRewardError: A pixel is no number.
    """
    if not pixels.isfinite().all():
        raise FergiRewardError(
            "the model draws pixels that are no numbers: where it is not trained yet, give another mixed_precision; "
            "else resume an earlier checkpoint, or start again, with a smaller train_learning_rate"
        )
