"""How much the cross-validated figures of `bradley-terry` move with the seed of its inner folds.

python eval/fergi/seed_stability.py --data ../FERGI --seeds 5
"""

from pathlib import Path

import click
import numpy as np
from tabulate import tabulate
from tqdm import tqdm

from fergi_reward.calibration.bradley_terry import SCORERS, Model, choose, held_out_margins, reaction_name
from fergi_reward.data.fergi import ACTION_UNITS, locate, read_fergi
from fergi_reward.stats.held_out import evaluate_held_out

TERMS = {
    "weighted_sum": SCORERS,
    "weighted_sum+au4": (*SCORERS, "au4"),
    f"weighted_sum+{reaction_name(ACTION_UNITS)}": (*SCORERS, *ACTION_UNITS),
}


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="The FERGI folder, as for fergi-reward calibrate.")
@click.option("--seeds", type=click.IntRange(min=2), default=5, show_default=True, help="Seeds 0, 1, ... to try.")
def main(data: Path | None, seeds: int) -> None:
    """Print the mean and the range of accuracy and log-loss over seeds."""
    table = read_fergi(locate(data)).with_reactions()
    pairs = table.pairs()
    rows = []
    for name, terms in tqdm(TERMS.items(), unit="model"):
        model = Model(name, terms, table, pairs)
        results = [evaluate_held_out(held_out_margins(model, choose(model, seed)), seed) for seed in range(seeds)]
        accuracies = np.array([result.accuracy for result in results])
        losses = np.array([result.log_loss for result in results])
        rows.append([name, f"{accuracies.mean():.2%}", f"{accuracies.min():.2%} to {accuracies.max():.2%}"])
        rows[-1] += [f"{losses.mean():.4f}", f"{losses.min():.4f} to {losses.max():.4f}"]
    print(tabulate(rows, ["model", "accuracy", "range", "log-loss", "range"], tablefmt="github"))


if __name__ == "__main__":
    main()
