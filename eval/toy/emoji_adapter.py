"""Does an adapter make the emoji world's model better, by a judge that no reward knows? A toy.

python eval/toy/emoji_adapter.py --adapter runs/ddpo_emoji/lora --out runs/ddpo_emoji
"""

from pathlib import Path

import click
import torch
from tabulate import tabulate
from torch import Tensor

from fergi_reward.calibration.calibration import Calibration
from fergi_reward.cli.errors import clean_exit
from fergi_reward.diffusion.family import Pipeline
from fergi_reward.diffusion.grids import write_grid
from fergi_reward.diffusion.load import load_pipeline
from fergi_reward.files.atomic import write_json
from fergi_reward.reward import CombinedReward
from fergi_reward.toy.emoji import CALIBRATION, LABEL, MODELS, load_scorers
from fergi_reward.toy.emoji.evaluation import draw
from fergi_reward.toy.emoji.judge import judge
from fergi_reward.toy.emoji.pictures import HELD_OUT, SCENES, SEEN

PATH = click.Path(path_type=Path)
CAPTIONS = [scene.caption for scene in SCENES]
GRID_COLUMNS = 8
GRID = (*HELD_OUT[:8], *HELD_OUT[16:24])  # eight things to eat and eight animals, each on every colour
SETS = {"seen": SEEN, "held_out": HELD_OUT}
Figures = dict[str, float]


@click.command()
@click.option("--model", type=click.Choice(MODELS), default="emoji", show_default=True, help="What it adapts.")
@click.option("--adapter", type=PATH, required=True, help="Folder of a LoRA adapter.")
@click.option("--calibration", type=PATH, default=CALIBRATION, help="Weighs the reward; by default the toy's own.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the noise of the pictures.")
@click.option("--out", type=PATH, required=True, help="Folder for before_after.png and judged.json.")
def main(model: str, adapter: Path, calibration: Path, seed: int, out: Path) -> None:
    """Draw every scene with the same noise before and after; print a table and write a grid."""
    compared = compare(adapter, seed, CombinedReward(load_scorers(), Calibration.load(calibration)), out, model)
    write_json(out / "judged.json", {"what": f"a {LABEL}", "adapter": str(adapter), "seed": seed, **compared})
    rows = [
        [name, *(compared[when][f"{scenes}/{name}"] for scenes in SETS for when in ("before", "after"))]
        for name in (key.removeprefix("seen/") for key in compared["before"] if key.startswith("seen/"))
    ]
    columns = [f"{scenes.replace('_', ' ')}, {when}" for scenes in SETS for when in ("before", "after")]
    click.echo(tabulate(rows, [f"a {LABEL}", *columns], tablefmt="github", floatfmt=".3f"))


def compare(adapter: Path, seed: int, reward: CombinedReward, out: Path, model: str = "emoji") -> dict[str, Figures]:
    """Judge the model without and with the adapter, and draw held-out scenes in `out`/before_after.png."""
    from diffusers.utils import logging

    logging.set_verbosity_error()  # that the adapter leaves the text encoder alone is no news
    pipeline = load_pipeline(model)
    before, before_figures = drawn_and_judged(pipeline, seed, reward)
    pipeline.load_lora_weights(adapter)
    after, after_figures = drawn_and_judged(pipeline, seed, reward)
    write_before_after(out / "before_after.png", before, after)
    return {"before": before_figures, "after": after_figures}


def drawn_and_judged(pipeline: Pipeline, seed: int, reward: CombinedReward) -> tuple[Tensor, Figures]:
    """One picture of every scene, and what the judge and the reward say of those that were and were not trained on."""
    pixels = draw(pipeline, CAPTIONS, seed)
    figures: Figures = {}
    for name, scenes in SETS.items():
        rows = torch.tensor([SCENES.index(scene) for scene in scenes])
        captions = [scene.caption for scene in scenes]
        means = judge(pixels[rows], captions).means() | reward.score(pixels[rows], captions, batch_size=64).log()
        figures |= {f"{name}/{key}": value for key, value in means.items()}
    return pixels, figures


def write_before_after(path: Path, before: Tensor, after: Tensor) -> None:
    """The same held-out captions and noise in rows: before, after, before, after."""
    rows = [SCENES.index(scene) for scene in GRID]
    pixels, captions = [], []
    for start in range(0, len(rows), GRID_COLUMNS):
        for when, drawn in (("before", before), ("after", after)):
            pixels.append(drawn[rows[start : start + GRID_COLUMNS]])
            captions += [f"{when}: {SCENES[row].title}" for row in rows[start : start + GRID_COLUMNS]]
    write_grid(path, torch.cat(pixels), captions, columns=GRID_COLUMNS)


if __name__ == "__main__":
    with clean_exit():
        main(standalone_mode=False)
