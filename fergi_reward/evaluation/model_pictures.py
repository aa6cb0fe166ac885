"""The pictures of one model on disk; what is there, as it was drawn with these weights, is not drawn again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fergi_reward.bulk.manifest import Row
from fergi_reward.bulk.scoring import Share
from fergi_reward.core.progress import Progress
from fergi_reward.core.seeds import seed_of
from fergi_reward.diffusion.rendering import render
from fergi_reward.files.drawn_files import drawn_file, forget_files, write_files
from fergi_reward.files.store import FileDigests, Store, key_of
from fergi_reward.images import as_png, checked_pixels
from fergi_reward.scorers.base import chunks


@dataclass(frozen=True)
class Request:
    """One picture to draw, by every model alike.

    Attributes:
        number: Number of the request, prompt by prompt.
        prompt: What to draw.
        seed: Depends on the run's seed, the prompt's place and the sample's place alone.
        file: Its name in the folder of a model's pictures.
    """

    number: int
    prompt: str
    seed: int
    file: str


def requests_of(prompts: Sequence[str], samples: int, seed: int) -> list[Request]:
    """Every sample of every prompt.

    >>> [request.file for request in requests_of(["a cat", "a dog"], 2, seed=0)]
    ['0001_01.png', '0001_02.png', '0002_01.png', '0002_02.png']
    """
    return [
        Request(
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
        folder: Folder of all that belongs to the model.
        requests: The same for every model.
        store: What is in the pictures' files, by what they were drawn with.
        context: Digest of all that pictures depend on but their batch: weights, call, precision and machine.
        batch_size: Pictures at a time.
    """

    folder: Path
    requests: Sequence[Request]
    store: Store
    context: str
    batch_size: int

    def path(self, request: Request) -> Path:
        """Its file."""
        return self.folder / "pictures" / request.file

    def rows(self) -> Iterator[Row]:
        """The rows to score."""
        return (Row(request.number, request.file, self.path(request), request.prompt) for request in self.requests)

    def batches(self) -> list[dict[str, Request]]:
        """All batches, each request by its key; a picture's last bits depend on the batch that it is drawn in."""
        found = []
        for batch in chunks(self.requests, self.batch_size):
            content = key_of("batch", self.context, [[request.prompt, request.seed] for request in batch])
            found.append({key_of("picture", content, place): request for place, request in enumerate(batch)})
        return found

    def left(self, share: Share) -> list[dict[str, Request]]:
        """Batches of this process that are not there as they were drawn."""
        return [batch for batch in self.batches()[share.rank :: share.processes] if not self._is_there(batch)]

    def _is_there(self, batch: Mapping[str, Request]) -> bool:
        drawn = ((self.store.get(key), self.path(request)) for key, request in batch.items())
        return all(found and path.is_file() and self.digest(path) == found["digest"] for found, path in drawn)

    def digest(self, path: Path) -> str:
        """The digest of a picture's file."""
        return FileDigests(self.store)(path)

    def draw(self, load: Callable[[], Any], call: Mapping[str, Any], share: Share) -> None:
        """Draw what is left of this process's part, with a progress bar.

        Args:
            load: Gives the pipeline; not called where nothing is left.
            call: Arguments of the pipeline's call.
            share: This process's part.

        Raises:
            FergiRewardError: The pipeline draws what is no picture.
        """
        left = self.left(share)
        if not left:
            return
        pipeline = load()
        with Progress(total=sum(map(len, left)), desc=f"drawing {self.folder.name}", unit="picture") as bar:
            for batch in left:
                requests = list(batch.values())
                with torch.no_grad():
                    pixels = render(
                        pipeline,
                        [request.prompt for request in requests],
                        [request.seed for request in requests],
                        **call,
                    )
                pixels = checked_pixels(pixels)
                files = {self.path(request): as_png(one) for request, one in zip(requests, pixels.cpu(), strict=True)}
                drawn = (drawn_file(self.folder, path, content) for path, content in files.items())
                self.store.add(dict(zip(batch, drawn, strict=True)))
                write_files(files)
                bar.update(len(batch))

    def keep(self, further: Sequence[str]) -> None:
        """Forget what is no part of this comparison, pictures of other prompts included.

        Args:
            further: Keys of what else stays in the store.
        """
        keys = [key for batch in self.batches() for key in batch]
        forget_files(self.store, self.folder, [*keys, *further], map(self.path, self.requests))
