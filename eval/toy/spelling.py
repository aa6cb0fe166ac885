"""Does a model learn to spell from the reward `ocr`, which reads pictures with trained weights? A toy.

python eval/toy/spelling.py

The toy is a tiny Stable Diffusion with random weights whose VAE prints a word of eight letters. Each column of its
latents says one letter: the right one where the column's mean is above 0, else another. What is read is a picture.
"""

from pathlib import Path
from typing import Any

import click
import torch
from diffusers import AutoencoderKL
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from PIL import Image, ImageDraw, ImageFont
from tabulate import tabulate
from torch import Tensor

from fergi_reward.cli.errors import clean_exit
from fergi_reward.diffusion.rendering import render
from fergi_reward.files.atomic import write_json
from fergi_reward.images import to_pixels
from fergi_reward.reward import CombinedReward
from fergi_reward.toy import tiny
from fergi_reward.trainers.ddpo import DDPOConfig, DDPOTrainer

RIGHT, WRONG = "SANDWICH", "ROTLEVUM"
PROMPT = f'a sign that says "{RIGHT}"'
CALL = {"num_inference_steps": 8, "guidance_scale": 1.0}


class Printer(AutoencoderKL):
    """A VAE that prints."""

    def decode(self, z: Tensor, return_dict: bool = True, generator: torch.Generator | None = None) -> Any:  # noqa: ANN401
        """Latents (B, 4, 8, 8) as pictures (B, 3, 48, 256) in [-1, 1]; no gradient goes through it."""
        pictures = [to_pixels(printed(word)) for word in words(z)]
        return (torch.stack(pictures).to(z) * 2 - 1,)


def words(latents: Tensor) -> list[str]:
    """What each of (B, C, H, 8) says.

    >>> words(torch.tensor([[[[1.0] * 4 + [-1.0] * 4]]]))
    ['SANDEVUM']
    """
    chosen = (latents.mean(dim=(1, 2)) > 0).tolist()
    return [
        "".join(pair[not right] for pair, right in zip(zip(RIGHT, WRONG, strict=True), row, strict=True))
        for row in chosen
    ]


def printed(word: str) -> Image.Image:
    """A word, black on white, in the font that matplotlib brings."""
    import matplotlib

    font = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    picture = Image.new("RGB", (256, 48), "white")
    ImageDraw.Draw(picture).text((10, 6), word, fill="black", font=ImageFont.truetype(str(font), 30))
    return picture


def pipeline() -> StableDiffusionPipeline:
    """The toy; commands know it as `--model spelling:pipeline`, with this folder on PYTHONPATH."""
    toy = tiny.stable_diffusion()
    toy.vae = Printer.from_config(toy.vae.config)
    return toy


def config(epochs: int, seed: int, out: Path) -> DDPOConfig:
    """How it is trained: one update per epoch of 32 pictures."""
    return DDPOConfig(
        num_epochs=epochs,
        seed=seed,
        sample_num_steps=8,
        sample_guidance_scale=1.0,
        sample_batch_size=16,
        sample_num_batches_per_epoch=2,
        train_batch_size=16,
        train_gradient_accumulation_steps=2,
        train_learning_rate=1e-2,
        train_clip_range=1e-2,
        grid_num_images=0,
        log_with="none",
        output_dir=str(out),
    )


def judged(drawing: StableDiffusionPipeline, reward: CombinedReward, pictures: int = 32) -> dict[str, float]:
    """What OCR reads in pictures of seeds that training did not draw, and how many are right in all letters."""
    pixels = render(drawing, [PROMPT] * pictures, range(10_000, 10_000 + pictures), **CALL)
    scores = reward(pixels, PROMPT).terms["ocr"]
    return {"ocr": scores.mean().item(), "all letters right": (scores == 1).float().mean().item()}


@click.command()
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Seeds 0, 1, ... to try.")
@click.option("--epochs", type=click.IntRange(min=1), default=32, show_default=True, help="Updates.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/spelling"), show_default=True)
def main(seeds: int, epochs: int, out: Path) -> None:
    """Train from each seed with DDPO; print what is spelt right before and after."""
    reward, results = CombinedReward({"ocr": 1.0}), []
    for seed in range(seeds):
        toy = pipeline()
        before = judged(toy, reward)
        DDPOTrainer(config(epochs, seed, out / f"seed_{seed}"), reward, toy, [PROMPT]).train()
        results.append((before, judged(toy, reward)))
    write_json(out / "results.json", [{"before": before, "after": after} for before, after in results])
    rows = [[seed, *before.values(), *after.values()] for seed, (before, after) in enumerate(results)]
    names = ["a toy", "ocr, before", "all right", "ocr, after", "all right"]
    click.echo(tabulate(rows, names, tablefmt="github", floatfmt=".3f"))


if __name__ == "__main__":
    with clean_exit():
        main(standalone_mode=False)
