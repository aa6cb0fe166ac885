"""Drawing scenes of the embedded world with a pipeline, and judging what it drew."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from fergi_reward.core.progress import Progress
from fergi_reward.core.seeds import seed_of
from fergi_reward.diffusion.family import Pipeline, family_of
from fergi_reward.diffusion.grids import write_grid
from fergi_reward.diffusion.rendering import render
from fergi_reward.toy.emoji.judge import judge
from fergi_reward.toy.emoji.pictures import Scene

# As configs/ddpo_emoji.yaml samples: without guidance, which would hide much of what fine-tuning should repair.
SAMPLING_FLOW = {"num_inference_steps": 10, "guidance_scale": 1.0}
SAMPLING = {**SAMPLING_FLOW, "eta": 1.0}
BATCH = 64
COLUMNS = 8


def draw(pipeline: Pipeline, captions: Sequence[str], seed: int) -> Tensor:
    """One picture a caption, (B, 3, 32, 32) in [0, 1], float32 on the CPU.

    Args:
        pipeline: A pipeline of this world.
        captions: B of them.
        seed: The noise of a picture depends on it and on the picture's place alone.
    """
    drawn = []
    sampling = SAMPLING if family_of(pipeline).network_name == "unet" else SAMPLING_FLOW
    for start in Progress(range(0, len(captions), BATCH), desc="drawing a toy's pictures", unit="batch", leave=False):
        batch = list(captions[start : start + BATCH])
        seeds = [seed_of(seed, "drawing", start + row) for row in range(len(batch))]
        drawn.append(render(pipeline, batch, seeds, **sampling).cpu())
    return torch.cat(drawn)


def evaluate_pipeline(pipeline: Pipeline, scenes: Sequence[Scene], seed: int) -> dict[str, float]:
    """The judge's means over one picture of each scene."""
    captions = [scene.caption for scene in scenes]
    return judge(draw(pipeline, captions, seed), captions).means()


def write_scenes(path: Path, pipeline: Pipeline, scenes: Sequence[Scene], seed: int) -> None:
    """Draw the scenes and write them as one picture, captions below."""
    captions = [scene.caption for scene in scenes]
    write_grid(path, draw(pipeline, captions, seed), captions, columns=COLUMNS)
