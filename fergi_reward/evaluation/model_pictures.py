"""The pictures of one model on disk, which are their own cache: what is there is not drawn again."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from fergi_reward.bulk.manifest import Row
from fergi_reward.bulk.scoring import Share
from fergi_reward.errors import FergiRewardError
from fergi_reward.files import write_json, written_whole
from fergi_reward.images import checked_pixels
from fergi_reward.rendering import render
from fergi_reward.scorers.base import chunks
from fergi_reward.trainers.seeds import seed_of


@dataclass(frozen=True)
class Shot:
    """One picture to draw, by every model alike.

    Attributes:
        number: Of the shot, prompt by prompt.
        prompt: What to draw.
        seed: Depends on the run's seed, the prompt's place and the sample's place alone.
        file: Its name in the folder of a model's pictures.
    """

    number: int
    prompt: str
    seed: int
    file: str


def shots_of(prompts: Sequence[str], samples: int, seed: int) -> list[Shot]:
    """Every sample of every prompt.

    >>> [shot.file for shot in shots_of(["a cat", "a dog"], 2, seed=0)]
    ['0001_01.png', '0001_02.png', '0002_01.png', '0002_02.png']
    """
    return [
        Shot(
            line * samples + place,
            prompt,
            seed_of(seed, "picture", line, place),
            f"{line + 1:04d}_{place + 1:02d}.png",
        )
        for line, prompt in enumerate(prompts)
        for place in range(samples)
    ]


@dataclass(frozen=True)
class ModelPictures:
    """Where the pictures of a model are.

    Attributes:
        folder: Of all that belongs to the model.
        shots: The same for every model.
    """

    folder: Path
    shots: Sequence[Shot]

    def path(self, shot: Shot) -> Path:
        """Its file."""
        return self.folder / "pictures" / shot.file

    def rows(self) -> Iterator[Row]:
        """The rows to score."""
        return (Row(shot.number, shot.file, self.path(shot), shot.prompt) for shot in self.shots)

    def left(self, batch_size: int, share: Share) -> list[Sequence[Shot]]:
        """Batches of this process that are not drawn whole; drawn again whole, since bits depend on the batch."""
        batches = list(chunks(self.shots, batch_size))[share.rank :: share.processes]
        return [batch for batch in batches if not all(self.path(shot).is_file() for shot in batch)]

    def check(self, depends_on: Mapping[str, object]) -> None:
        """Note what the pictures depend on.

        Raises:
            FergiRewardError: There are pictures of something else.
        """
        note = self.folder / "drawn.json"
        if (
            note.is_file()
            and json.loads(note.read_text(encoding="utf-8")) != depends_on
            and any(self.path(shot).is_file() for shot in self.shots)
        ):
            raise FergiRewardError(
                f"{self.folder} holds pictures of other weights or options: delete it, or give another --out"
            )
        write_json(note, depends_on)

    def draw(self, load: Callable[[], Any], batch_size: int, call: Mapping[str, Any], share: Share) -> None:
        """Draw what is left of this process's part, with a progress bar.

        Args:
            load: Gives the pipeline; not called where nothing is left.
            batch_size: Pictures at a time.
            call: Arguments of the pipeline's call.
            share: This process's part.

        Raises:
            FergiRewardError: The pipeline draws what is no picture.
        """
        left = self.left(batch_size, share)
        if not left:
            return
        pipeline = load()
        with tqdm(total=sum(map(len, left)), desc=f"drawing {self.folder.name}", unit="picture") as bar:
            for batch in left:
                with torch.no_grad():
                    pixels = render(pipeline, [shot.prompt for shot in batch], [shot.seed for shot in batch], **call)
                pixels = checked_pixels(pixels)
                for shot, picture in zip(batch, pixels.cpu(), strict=True):
                    _write(self.path(shot), picture)
                bar.update(len(batch))


def _write(path: Path, pixels: Tensor) -> None:
    array = (pixels.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    with written_whole(path) as temporary:
        Image.fromarray(array).save(temporary)
