"""Does fine-tuning make the emoji world's model better, by a judge that no reward knows? A toy, over several seeds.

python eval/emoji_finetune.py --seeds 3
"""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import torch
from tabulate import tabulate
from torch import Tensor

from fergi_reward.calibration.calibration import Calibration
from fergi_reward.emoji import CALIBRATION, LABEL, load_pipeline, load_scorers
from fergi_reward.emoji.evaluation import draw
from fergi_reward.emoji.judge import judge
from fergi_reward.emoji.pictures import HELD_OUT, SCENES, SEEN
from fergi_reward.errors import FergiRewardError
from fergi_reward.files import write_json
from fergi_reward.reward import CombinedReward
from fergi_reward.trainers.arguments import one_sentence_for_mistakes
from fergi_reward.trainers.samples import write_grid

if TYPE_CHECKING:
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

PATH = click.Path(path_type=Path)
CAPTIONS = [scene.caption for scene in SCENES]
GRID_COLUMNS = 8
Figures = dict[str, float]


@click.command()
@click.option("--program", type=PATH, default=Path("training/ddpo.py"), show_default=True, help="What trains.")
@click.option("--config", type=PATH, default=Path("configs/ddpo_emoji.yaml"), show_default=True, help="Its options.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Seeds 0, 1, ... to try.")
@click.option("--out", type=PATH, default=Path("runs/emoji_finetune"), show_default=True, help="A folder a seed.")
def main(program: Path, config: Path, seeds: int, out: Path) -> None:
    """Fine-tune from each seed; judge the same captions and noise before and after; print and write a table."""
    reward = CombinedReward(load_scorers(), Calibration.load(CALIBRATION))
    results = [compare(program, config, seed, out / f"seed_{seed}", reward) for seed in range(seeds)]
    write_json(out / "results.json", {"what": f"a {LABEL}", "config": str(config), "seeds": results})
    rows = [
        [name, *(spread([result[when][name] for result in results]) for when in ("before", "after"))]
        for name in results[0]["before"]
    ]
    table = tabulate(rows, [f"a {LABEL}, {seeds} seeds: mean (range)", "before", "after"], tablefmt="github")
    (out / "results.md").write_text(table + "\n", encoding="utf-8")
    click.echo(table)


def compare(program: Path, config: Path, seed: int, folder: Path, reward: CombinedReward) -> dict[str, Figures]:
    """Train one adapter, and judge the model without and with it."""
    options = ["--config", str(config), "--seed", str(seed), "--output_dir", str(folder)]
    if subprocess.run([sys.executable, str(program), *options], check=False).returncode:
        raise FergiRewardError(f"{program} failed with --seed {seed}: its message is above")
    pipeline = load_pipeline()
    before, before_figures = drawn_and_judged(pipeline, seed, reward)
    pipeline.load_lora_weights(folder / "lora")
    after, after_figures = drawn_and_judged(pipeline, seed, reward)
    write_before_after(folder / "before_after.png", before, after)
    return {"before": before_figures, "after": after_figures}


def drawn_and_judged(pipeline: "StableDiffusionPipeline", seed: int, reward: CombinedReward) -> tuple[Tensor, Figures]:
    """One picture of every scene, and what the judge and the reward say of those that were and were not trained on."""
    pixels = draw(pipeline, CAPTIONS, seed)
    figures: Figures = {}
    for name, scenes in (("seen", SEEN), ("held_out", HELD_OUT)):
        rows = torch.tensor([SCENES.index(scene) for scene in scenes])
        captions = [scene.caption for scene in scenes]
        means = judge(pixels[rows], captions).means() | reward.score(pixels[rows], captions, batch_size=64).log()
        figures |= {f"{name}/{key}": value for key, value in means.items()}
    return pixels, figures


def write_before_after(path: Path, before: Tensor, after: Tensor) -> None:
    """The same held-out captions and noise in rows: before, after, before, after."""
    rows = [SCENES.index(scene) for scene in HELD_OUT]
    pixels, captions = [], []
    for start in range(0, len(rows), GRID_COLUMNS):
        for when, drawn in (("before", before), ("after", after)):
            pixels.append(drawn[rows[start : start + GRID_COLUMNS]])
            captions += [f"{when}: {CAPTIONS[row]}" for row in rows[start : start + GRID_COLUMNS]]
    write_grid(path, torch.cat(pixels), captions, columns=GRID_COLUMNS)


def spread(values: list[float]) -> str:
    """The mean and the range.

    >>> spread([1.0, 2.0])
    '1.500 (1.000 to 2.000)'
    """
    return f"{sum(values) / len(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    with one_sentence_for_mistakes():
        main(standalone_mode=False)
