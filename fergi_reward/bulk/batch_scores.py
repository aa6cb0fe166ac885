"""Full batches through scorers, so that to the last bit a row's scores depend on no other row, nor on its place.

The last bits of a network's output depend on the shape of its input, by which kernels are chosen; and of batches of one
shape, every row is computed alike. So every call of a tower here has one shape, that of a full batch: `batch_size`
pictures, `batch_size` prompts of the full length. A store may then keep a row's scores whatever happens to the rows
around it. Each prompt is read once, as long as it is among the last few thousand. A foreign scorer is asked
for full batches too, of pictures of one size.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from fergi_reward.files.store import key_of
from fergi_reward.scorers.base import T, TowerScorer, chunks
from fergi_reward.scorers.foreign import ForeignScorer, LoadedScorer
from fergi_reward.version import __version__

# Features of CLIP ViT-H/14's prompts, 4 KB each.
HELD_PROMPTS = 4096
# Pictures and prompts, a full batch -> columns of numbers.
Columns = Callable[[Sequence[Image.Image], Sequence[str]], dict[str, list[float]]]


@dataclass(frozen=True)
class Prepared:
    """A picture as it is scored.

    Attributes:
        inputs: By scorer, the model input (3, size, size), or pixels for a foreign one.
        picture: Itself, where further columns are made of it.
    """

    inputs: Mapping[str, Tensor]
    picture: Image.Image | None


class BatchScores:
    """Scores a full batch with every scorer.

    Args:
        scorers: By the names of the columns.
        batch_size: Pictures in every batch.
        further: Gives more columns of the same batch, by the picture and the prompt alone.
        further_names: The columns that `further` gives; without any, `further` is not asked.

    Attributes:
        scorers: As given.
        names: Names of the columns.
        batch_size: As given.
        context: Digest of all that a score depends on but picture and prompt: weights, precision, versions and machine.
    """

    def __init__(
        self,
        scorers: Mapping[str, LoadedScorer],
        batch_size: int,
        further: Columns | None = None,
        further_names: Sequence[str] = (),
    ) -> None:
        self.scorers, self._further = scorers, further if further_names else None
        self.names = [*scorers, *further_names]
        self.batch_size = batch_size
        self._texts: dict[str, dict[str, Tensor]] = {name: {} for name in scorers}
        for scorer in scorers.values():
            if isinstance(scorer, TowerScorer):
                scorer.full_length = True
        digests = [[name, scorer.weights_digest()] for name, scorer in scorers.items()]
        self.context = key_of(digests, list(further_names), batch_size, machine(next(iter(scorers.values())).device))

    @torch.inference_mode()
    def prepared(self, picture: Image.Image) -> Prepared:
        """A decoded picture as the scorers see it; several threads may prepare, on the CPU."""
        inputs = {
            name: scorer.preprocess(picture) if isinstance(scorer, TowerScorer) else scorer.prepared(picture)
            for name, scorer in self.scorers.items()
        }
        return Prepared(inputs, picture.copy() if self._further else None)

    def __call__(self, batch: Sequence[Prepared], prompts: Sequence[str]) -> dict[str, list[float]]:
        """The columns of a full batch.

        Raises:
            FergiRewardError: A picture cannot be used.
        """
        scores = {name: self._scored(name, scorer, batch, prompts) for name, scorer in self.scorers.items()}
        pictures = [one.picture for one in batch if one.picture]
        return scores | (self._further(pictures, prompts) if self._further else {})

    @torch.inference_mode()
    def _scored(
        self, name: str, scorer: LoadedScorer, batch: Sequence[Prepared], prompts: Sequence[str]
    ) -> list[float]:
        inputs = [one.inputs[name] for one in batch]
        if isinstance(scorer, ForeignScorer):
            return scorer.score_pixels(inputs, prompts, full=self.batch_size).tolist()
        with scorer._own_precision():
            texts = self._features(scorer, self._texts[name], prompts)
            features = scorer.encode_images(scorer._as_input(torch.stack(inputs)))
            return scorer.compare(features, texts).float().tolist()

    def _features(self, scorer: TowerScorer, known: dict[str, Tensor], prompts: Sequence[str]) -> Tensor:
        """Text features of the prompts; those that are new are read a full batch at a time."""
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in known]
        for chunk in chunks(new, self.batch_size):
            known.update(zip(chunk, scorer.encode_prompts(filled(chunk, self.batch_size)), strict=False))
        found = torch.stack([known[prompt] for prompt in prompts])
        while len(known) > HELD_PROMPTS:
            del known[next(iter(known))]
        return found


def filled(values: Sequence[T], size: int) -> list[T]:
    """`size` values: these, and the first of them for those that lack."""
    return [*values, *[values[0]] * (size - len(values))]


def machine(device: torch.device) -> list[str | int]:
    """What the last bits of a network's output depend on apart from its weights and its input."""
    if device.type == "cuda":
        processor: list[str | int] = [torch.cuda.get_device_name(device)]
    else:
        processor = [torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()]
    return [__version__, torch.__version__, device.type, *processor]
