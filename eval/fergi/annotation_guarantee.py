"""Is the promise of `fergi-reward annotate --target-accuracy` kept? Random halves of FERGI's participants.

python eval/fergi/annotation_guarantee.py

One half chooses the threshold, the other is annotated. Where no threshold can promise the target, nothing is annotated.
"""

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from tabulate import tabulate
from tqdm import tqdm

from fergi_reward.annotation.pairs import annotate, checked
from fergi_reward.annotation.rules import guaranteed_rule
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.calibration.grid import unsteady_participants
from fergi_reward.cli.errors import clean_exit
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.fergi import locate, read_fergi
from fergi_reward.data.table import PreferenceTable

FIT = Calibration.shipped().fit_for(["au4"])


@dataclass(frozen=True)
class Split:
    """The outcome of one split: the accuracy on the annotated pairs and their share; None where it was refused."""

    accuracy: float | None
    coverage: float = 0.0


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="The FERGI folder.  [default: $FERGI_DATA]")
@click.option("--targets", type=float, multiple=True, default=(0.55, 0.6, 0.65, 0.7, 0.75), show_default=True)
@click.option("--confidence", type=float, default=0.9, show_default=True)
@click.option("--splits", type=click.IntRange(min=1), default=200, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def main(data: Path | None, targets: tuple[float, ...], confidence: float, splits: int, seed: int) -> None:
    """Print, for each target, how often it was reached."""
    table = read_fergi(locate(data))
    table = table.without_users(unsteady_participants(table)).with_reactions()
    rows = []
    for target in targets:
        rng = np.random.default_rng(seed)
        halves = (rng.permutation(table.users)[: len(table.users) // 2].tolist() for _ in range(splits))
        found = [split(table, half, target, confidence) for half in tqdm(halves, total=splits, unit="split")]
        rows.append(row(target, found))
    print(tabulate(rows, headers="keys", tablefmt="github", floatfmt=".3f"))


def split(table: PreferenceTable, ranked: list[str], target: float, confidence: float) -> Split:
    """Choose on some participants, annotate the others."""
    others = table.without_users(ranked)
    try:
        rule = guaranteed_rule(table.without_users(others.users), target, confidence, len(others.users))
    except FergiRewardError:
        return Split(None)
    annotation = annotate(others.images, dict.fromkeys(others.users, rule), FIT)
    return Split(float(checked(annotation, others.images).correct.mean()), annotation.coverage)


def row(target: float, splits: list[Split]) -> dict[str, float]:
    """Shares of the splits, and means over those that annotated anything."""
    accuracies = np.array([one.accuracy for one in splits if one.accuracy is not None])
    return {
        "target": target,
        "annotated (share of splits)": len(accuracies) / len(splits),
        "kept (share of splits)": 1 - (accuracies < target).sum() / len(splits),
        "kept, of those annotated": (accuracies >= target).mean() if len(accuracies) else float("nan"),
        "accuracy": accuracies.mean() if len(accuracies) else float("nan"),
        "coverage": float(np.mean([one.coverage for one in splits if one.accuracy is not None] or [np.nan])),
    }


if __name__ == "__main__":
    with clean_exit():
        main(standalone_mode=False)
