"""The pictures that a run draws of itself: the same prompts and noise, before, on the way, and after."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import Tensor

from fergi_reward.diffusion.grids import write_grid


class Grids:
    """Grids in a folder.

    Args:
        folder: Where to.
        prompts: What is drawn; none, and nothing is.
        draw: Their pictures (B, 3, H, W) in [0, 1] by the model as it is, with the same noise each time. All processes
            of a run draw together.
        writes: Whether this process writes them.
    """

    def __init__(self, folder: Path, prompts: Sequence[str], draw: Callable[[], Tensor], writes: bool = True) -> None:
        self.folder, self.prompts, self.draw, self.writes = folder, prompts, draw, writes

    def write(self, finished: int) -> Path | None:
        """How the model draws after so many epochs; returns the file, if this process wrote one."""
        if not self.prompts:
            return None
        pixels, path = self.draw(), self.folder / f"epoch_{finished:04d}.png"
        if not self.writes:
            return None
        write_grid(path, pixels, self.prompts, columns=4)
        return path

    def write_before_after(self, reference: AbstractContextManager[None]) -> Path | None:
        """Two rows: the model in the block of `reference`, and the model as it is; returns the file as `write` does."""
        if not self.prompts:
            return None
        with reference:
            before = self.draw()
        captions = [f"{when}: {prompt}" for when in ("before", "after") for prompt in self.prompts]
        pixels, path = torch.cat([before, self.draw()]), self.folder / "before_after.png"
        if not self.writes:
            return None
        write_grid(path, pixels, captions, columns=len(self.prompts))
        return path
