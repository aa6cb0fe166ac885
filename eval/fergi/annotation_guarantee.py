"""Is the promise of `fergi-reward annotate --target-accuracy` kept? Random halves of FERGI's participants.

python eval/fergi/annotation_guarantee.py

One half ranked: fits and threshold come from it. The other half is annotated. Where no threshold promises the target,
nothing is annotated. First comes what the whole of FERGI gives, each participant by the others. A run that was stopped
resumes from --out.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from tabulate import tabulate
from tqdm import tqdm

from fergi_reward.annotation.learned import Learned
from fergi_reward.annotation.pairs import Annotation, checked
from fergi_reward.annotation.promise import promised_threshold
from fergi_reward.annotation.run import candidate_pairs
from fergi_reward.annotation.signals import term_sets
from fergi_reward.calibration.grid import unsteady_participants
from fergi_reward.cli.errors import clean_exit
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.fergi import locate, read_fergi
from fergi_reward.data.table import PreferenceTable
from fergi_reward.files.atomic import write_json
from fergi_reward.stats.coverage import coverage_curve

SIGNALS = ("au4", "face", "scorers", "all")
# What the paper's rule annotates.
PAPER_PAIRS = 553


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="The FERGI folder.  [default: $FERGI_DATA]")
@click.option("--targets", type=float, multiple=True, default=(0.6, 0.65, 0.7, 0.75, 0.8), show_default=True)
@click.option("--signals", type=click.Choice(SIGNALS), multiple=True, default=SIGNALS, show_default=True)
@click.option("--confidence", type=float, default=0.9, show_default=True)
@click.option("--splits", type=click.IntRange(min=1), default=200, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("annotation_guarantee.json"), show_default=True)
def main(
    data: Path | None,
    targets: tuple[float, ...],
    signals: tuple[str, ...],
    confidence: float,
    splits: int,
    seed: int,
    out: Path,
) -> None:
    """Print how right the surest pairs are, and for each target how often it was reached."""
    table = read_fergi(locate(data))
    table = table.without_users(unsteady_participants(table)).with_reactions()
    print(tabulate([surest_pairs(table, name) for name in signals], headers="keys", tablefmt="github"), flush=True)
    asked: dict[str, Any] = {
        "table": table.fingerprint(),
        "targets": list(targets),
        "confidence": confidence,
        "seed": seed,
    }
    known = json.loads(out.read_text()) if out.exists() else asked | {"splits": {}}
    if {name: known[name] for name in asked} != asked:
        raise FergiRewardError(f"{out} is of other options: name another --out, or delete it")
    rows = []
    for name in signals:
        found = known["splits"].setdefault(name, [])
        for number in tqdm(range(len(found), splits), desc=name, unit="split"):
            found.append(split(table, name, np.random.default_rng([seed, number]), targets, confidence))
            write_json(out, known)
        rows += [row(name, target, [one[place] for one in found[:splits]]) for place, target in enumerate(targets)]
    print(tabulate(rows, headers="keys", tablefmt="github", floatfmt=".3f"))


def surest_pairs(table: PreferenceTable, signals: str) -> dict[str, Any]:
    """Accuracy on the surest pairs, each participant by a fit without them."""
    held_out = Learned(table, term_sets(signals, table, table)[:1], seed=0).held_out()
    _, accuracy = coverage_curve(held_out.margins)
    half = len(accuracy) // 2
    shown = (f"{accuracy[count - 1]:.1%}" for count in (PAPER_PAIRS, half, len(accuracy)))
    return dict(zip(("from", f"{PAPER_PAIRS} pairs", "half of all pairs", "all"), (signals, *shown), strict=True))


def split(
    table: PreferenceTable, signals: str, rng: np.random.Generator, targets: Sequence[float], confidence: float
) -> list[tuple[float, float] | None]:
    """For each target the accuracy on the annotated pairs and their share; None where it was refused."""
    viewers = table.without_users(rng.permutation(table.users)[: len(table.users) // 2].tolist())
    ranked = table.without_users(viewers.users)
    learned = Learned(ranked, term_sets(signals, ranked, viewers)[:1], seed=0)
    pairs, held_out = pd.concat(candidate_pairs(learned, viewers), ignore_index=True), learned.held_out()
    right = checked(Annotation(pairs, {}), viewers.images).correct
    outcomes: list[tuple[float, float] | None] = []
    for target in targets:
        try:
            threshold = promised_threshold(held_out, target, confidence, len(viewers.users))
        except FergiRewardError:
            outcomes.append(None)
            continue
        annotated = pairs["log_odds"].to_numpy() > threshold
        outcomes.append((float(right[annotated].mean()), float(annotated.mean())))
    return outcomes


def row(signals: str, target: float, splits: list[tuple[float, float] | None]) -> dict[str, Any]:
    """Shares of the splits, and means over those that annotated anything."""
    accepted = [one for one in splits if one is not None]
    accuracy, coverage = np.array(accepted).T if accepted else (np.array([np.nan]), np.array([np.nan]))
    broken = sum(one[0] < target for one in accepted)
    return {
        "from": signals,
        "target": target,
        "accepted (share of splits)": len(accepted) / len(splits),
        "kept (share of splits)": 1 - broken / len(splits),
        "kept, of those accepted": 1 - broken / len(accepted) if accepted else float("nan"),
        "accuracy": float(accuracy.mean()),
        "coverage": float(coverage.mean()),
    }


if __name__ == "__main__":
    with clean_exit():
        main(standalone_mode=False)
