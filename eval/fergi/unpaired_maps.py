"""What does a map from unpaired clips cost? Random halves of FERGI's participants, whose true map is the identity.

python eval/fergi/unpaired_maps.py

One half is taken for people whom another source measured. The better the halves are alike, the closer the map that
matches their quantiles is to the identity; what it is off by is what the assumption costs.
"""

from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from fergi_reward.cli.errors import clean_exit
from fergi_reward.data.fergi import locate, read_fergi
from fergi_reward.reactions.manifest import KINDS, Kind
from fergi_reward.reactions.source_map_fit import fit_unpaired
from fergi_reward.reactions.table import ReactionTable

SIZES = (0.1, 0.3, 1.0, 3.0)


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="The FERGI folder.  [default: $FERGI_DATA]")
@click.option("--splits", type=click.IntRange(min=2), default=200, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def main(data: Path | None, splits: int, seed: int) -> None:
    """Print where activations of some sizes are mapped to: the median over the splits, and the middle 80 % of them."""
    table = read_fergi(locate(data))
    rows = []
    for kind in KINDS:
        rng = np.random.default_rng(seed)
        halves = (rng.permutation(table.users)[: len(table.users) // 2].tolist() for _ in range(splits))
        mapped = np.array([mapped_sizes(table, half, kind) for half in halves])
        low, middle, high = np.quantile(mapped, [0.1, 0.5, 0.9], axis=0)
        cells = [f"{m:.2f} ({a:.2f} - {b:.2f})" for a, m, b in zip(low, middle, high, strict=True)]
        rows.append([kind, *cells])
    print(tabulate(rows, headers=["clips", *map(str, SIZES)], tablefmt="github"))


def mapped_sizes(table: ReactionTable, half: list[str], kind: Kind) -> NDArray[np.float64]:
    """Where a map from the others to one half takes activations of some sizes."""
    others = replace(table.without_users(half), au_source="other half")
    target = table.without_users(others.users)
    return fit_unpaired(others, target, kind).source_map(np.array(SIZES))


if __name__ == "__main__":
    with clean_exit():
        main(standalone_mode=False)
