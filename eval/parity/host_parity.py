"""Run the adapters in their hosts, where these install and need no hub: `make parity`. Exit status 1 on a difference.

TRL 0.23.1 trains a tiny Stable Diffusion for an epoch, by DDPO and by AlignProp, with the emoji world's reward: what
its trainers used as rewards must be what the reward says of their images, and weights must move. imscore scores images
with its CLIPScore, on the reference folder's PickScore, and its DummyReward; ImageReward with the `score_gard` that
ReFL asks: the adapters' answers and gradients must be the same. UniRL 0.2.0 makes its backend from its YAML, and its
reward service scores a request.

python eval/parity/host_parity.py --reference ../shared/reference
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click
import torch
from tabulate import tabulate
from torch import Tensor

from fergi_reward.adapters import ImscoreReward, ReFLReward
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.images import normalize
from fergi_reward.scorers.registry import load_scorer
from fergi_reward.toy import tiny

ROOT = Path(__file__).resolve().parents[2]
BESIDE = ROOT.parent / "shared" / "reference"
# Sums of products in float32, in another order.
TOLERANCE = 5e-5
GRADIENT_TOLERANCE = 1e-4
Row = dict[str, object]
# Images and prompts.
Question = tuple[Tensor, list[str]]
Scores = Callable[[Tensor, list[str]], Tensor]


@click.command()
@click.option("--reference", type=click.Path(path_type=Path, exists=True), default=os.environ.get("FERGI_REFERENCE"))
def main(reference: Path | None) -> None:
    """Print a table of the largest differences."""
    with tempfile.TemporaryDirectory() as place:
        rows = [
            *trl_rows(Path(place)),
            unirl_row(Path(place)),
            *scorer_rows((reference or BESIDE).resolve(), Path(place)),
        ]
    print(tabulate(rows, headers="keys", floatfmt=".1e"))
    sys.exit(not all(row["as it should be"] for row in rows))


def trl_rows(place: Path) -> list[Row]:
    """A line of the table for each of TRL's trainers."""
    tiny.stable_diffusion().save_pretrained(str(place / "pipeline"))
    printed = run("trl_adapters", "host_trl.py", [place / "pipeline"], place)
    return [
        {
            "host": f"TRL 0.23.1 {name}",
            "images": found["images"],
            "largest difference": found["largest difference"],
            "of gradients": None,
            "weights moved": found["weights moved"],
            "as it should be": found["largest difference"] <= TOLERANCE and found["weights moved"] > 0,
        }
        for name, found in json.loads(printed.splitlines()[-1]).items()
    ]


def unirl_row(place: Path) -> Row:
    """The line of the table for UniRL's reward service."""
    found = json.loads(run("unirl", "host_unirl.py", [], place).splitlines()[-1])
    equal = found["largest difference"] <= TOLERANCE and found["of gradients"] <= GRADIENT_TOLERANCE
    right = found["as it should be"] and equal
    return {"host": "UniRL 0.2.0 RewardService", **found, "weights moved": None, "as it should be": right}


def scorer_rows(reference: Path, place: Path) -> list[Row]:
    """A line of the table for each of the hosts' scorers that are available without a hub."""
    subprocess.run([sys.executable, reference / "make_checkpoints.py", place], check=True)
    shutil.copytree(reference / "pickscore_processor", place / "pickscore", dirs_exist_ok=True, ignore=configs)
    imscore = {
        "CLIPScore": ImscoreReward(load_scorer("pickscore", place / "pickscore")).score,
        "DummyReward": ImscoreReward(lambda pixels, prompts: pixels.mean((1, 2, 3))).score,
    }
    refl = ReFLReward(load_scorer("image_reward", place / "image_reward"))

    def score_gard(image: Tensor, prompts: list[str]) -> Tensor:
        tokens = refl.blip.tokenizer(prompts)
        return refl.score_gard(tokens.input_ids, tokens.attention_mask, image)

    pixels = questions()
    normalized = [(normalize(images), prompts) for images, prompts in pixels]
    return [
        *compare("imscore", "host_imscore.py", place / "pickscore", pixels, imscore),
        *compare("image_reward", "host_refl.py", place / "image_reward", normalized, {"score_gard": score_gard}),
    ]


def questions() -> list[Question]:
    """Batches of three and of one.

    At the models' own size, where nobody resizes (imscore does so bilinearly), and off 0 and 1, where the scorers cut
    values off and have no gradient.
    """
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(1, 255, (3, 3, 224, 224), generator=draw) / 255
    return [(pixels, ["a cat", "a dog on a red sofa", "a cat"]), (pixels[:1], ["a house"])]


def compare(
    environment: str, program: str, checkpoint: Path, asked: list[Question], adapters: Mapping[str, Scores]
) -> list[Row]:
    """Ask the host's scorers in their environment, and the adapters here."""
    files = checkpoint.with_suffix(".questions"), checkpoint.with_suffix(".answers")
    torch.save(asked, files[0])
    run(environment, program, [checkpoint, *files], checkpoint.parent)
    answers = torch.load(files[1], weights_only=True)
    return [compared(f"{environment} {name}", ours, asked, answers[name]) for name, ours in adapters.items()]


def compared(host: str, ours: Scores, asked: Sequence[Question], answers: Sequence[dict[str, Tensor]]) -> Row:
    """The differences of scores, and of gradients as a share of their largest value."""
    scores, gradients = [], []
    for (images, prompts), answer in zip(asked, answers, strict=True):
        images = images.clone().requires_grad_()
        mine = ours(images, prompts)
        if mine.shape != answer["scores"].shape:
            raise FergiRewardError(f"{host} answers {tuple(answer['scores'].shape)}, the adapter {tuple(mine.shape)}")
        (gradient,) = torch.autograd.grad(mine.sum(), images)
        scores.append((mine - answer["scores"]).abs().max().item())
        largest = answer["gradient"].abs().max()
        gradients.append(((gradient - answer["gradient"]).abs().max() / largest).item())
    found: Row = {"host": host, "images": sum(len(images) for images, _ in asked), "largest difference": max(scores)}
    equal = max(scores) <= TOLERANCE and max(gradients) <= GRADIENT_TOLERANCE
    return found | {"of gradients": max(gradients), "weights moved": None, "as it should be": equal}


def configs(folder: str, names: list[str]) -> list[str]:
    """The processor's config.json, which is not the model's."""
    return [name for name in names if name == "config.json"]


def run(environment: str, program: str, arguments: Sequence[object], place: Path) -> str:
    """What a program of tests/parity prints in its own environment."""
    python = ROOT / ".parity" / environment / "bin" / "python"
    if not python.exists():
        raise click.UsageError(f"there is no {python}: run `make parity`")
    command = [str(python), "-W", "ignore", str(ROOT / "tests" / "parity" / program), *map(str, arguments)]
    return subprocess.run(command, cwd=place, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
