"""Compare the scorers with the living original packages, on small models: `make parity`.

Every image and prompt of the reference folder is scored by the original in its own environment and by the scorer here,
both with the checkpoints that the folder's make_checkpoints.py and hpsv3_files.py write. Exit status 1 on a difference.

python eval/parity/parity.py --reference ../shared/reference
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import click
import hpsv3_files
import torch
from tabulate import tabulate
from tqdm import tqdm

from fergi_reward.scorers.registry import load_scorer
from fergi_reward.toy import tiny

sys.path.append(str(Path(__file__).parents[1] / "speed"))  # which asks the same packages
from originals import Original

BESIDE = Path(__file__).parents[3] / "shared" / "reference"


@dataclass(frozen=True)
class Pair:
    """A scorer, the original it must equal, and how closely: what the original's own float noise allows."""

    scorer: str
    original: str
    tolerance: float
    checkpoint: str | None = None


PAIRS = (
    Pair("image_reward", "image_reward", 2e-5),
    Pair("pickscore", "pickscore", 5e-5),
    Pair("hps_v2", "hps", 1e-6, "HPS_v2_compressed.pt"),
    Pair("hps_v2.1", "hps", 1e-6, "HPS_v2.1_compressed.pt"),
    Pair("hpsv3", "hpsv3", 2e-6),
)


@click.command()
@click.option("--reference", type=click.Path(path_type=Path, exists=True), default=os.environ.get("FERGI_REFERENCE"))
def main(reference: Path | None) -> None:
    """Print a table of the largest differences."""
    reference = reference or BESIDE
    cases = json.loads((reference / "cases.json").read_text())
    images = [reference / "images" / image for image in cases["images"]]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, reference / "make_checkpoints.py", folder], check=True)
        hpsv3_files.write(tiny.hpsv3(), Path(folder) / "hpsv3")
        rows = [compare(pair, Path(folder), images, list(cases["prompts"].values())) for pair in PAIRS]
    print(tabulate(rows, headers="keys", floatfmt=".1e"))
    sys.exit(not all(row["equal"] for row in rows))


def compare(pair: Pair, checkpoints: Path, images: list[Path], prompts: list[str]) -> dict[str, object]:
    """One line of the table. Where the original crashes there is nothing to compare."""
    folder = checkpoints / pair.original
    if pair.checkpoint:
        shutil.copy(folder / pair.checkpoint, folder / "checkpoint.pt")
    scorer = load_scorer(pair.scorer, folder)
    differences, crashes = [], 0
    with Original(pair.original, folder) as original, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for prompt in tqdm(prompts, desc=pair.scorer, unit="prompt"):
            ours = scorer.score(images, prompt).tolist()
            for image, value in zip(images, ours, strict=True):
                (theirs,) = original.score([image], prompt).scores
                crashes += theirs is None
                differences += [] if theirs is None else [abs(theirs - value)]
    equal = bool(differences) and max(differences) <= pair.tolerance
    found = {"largest difference": max(differences, default=float("nan")), "tolerance": pair.tolerance}
    row = {"scorer": pair.scorer, "compared": len(differences), "original crashes": crashes, **found, "equal": equal}
    return row | {"bfloat16 moves scores by": low_precision_difference(pair, folder, images, prompts)}


def low_precision_difference(pair: Pair, folder: Path, images: list[Path], prompts: list[str]) -> float:
    """The largest difference between the scores of bfloat16 and float32 towers."""
    exact, low = (load_scorer(pair.scorer, folder, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    return max((exact.score(images, text) - low.score(images, text)).abs().max().item() for text in prompts)


if __name__ == "__main__":
    main()
