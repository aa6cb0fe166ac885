"""How well any model can order FERGI's pairs: by a viewer's own ratings of the same images, and by their place.

python eval/fergi/ceiling.py --data ../FERGI --two-raters ../tifa160_annotations_with_scores.json
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import sqrt
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from fergi_reward.calibration.bradley_terry import SCORERS, Model, choose, held_out_margins
from fergi_reward.data.fergi import ACTION_UNITS, locate, read_fergi
from fergi_reward.data.table import PreferenceTable
from fergi_reward.files.json_files import read_json
from fergi_reward.stats.held_out import evaluate_held_out

RATINGS = ("overall_rating", "alignment_rating", "fidelity_rating")
PLACE = ("place", "shown_first")
MODELS = {
    "scorers": SCORERS,
    "scorers, 12 action units": (*SCORERS, *ACTION_UNITS),
    "place": PLACE,
    "scorers, place": (*SCORERS, *PLACE),
    "scorers, place, 12 action units": (*SCORERS, *PLACE, *ACTION_UNITS),
    "own ratings": RATINGS,
    "own ratings, scorers, 12 action units": (*RATINGS, *SCORERS, *ACTION_UNITS),
    "own ratings, scorers, place, 12 action units": (*RATINGS, *SCORERS, *PLACE, *ACTION_UNITS),
}


@dataclass(frozen=True)
class Orders:
    """Pairs that a second judgement orders as the first one did, not at all, or the other way round."""

    same: int
    tied: int
    other: int

    @classmethod
    def of(cls, differences: NDArray[np.float64]) -> "Orders":
        """Count, from second judgements of the preferred images minus second judgements of the others, (P,)."""
        return cls(*(int((np.sign(differences) == sign).sum()) for sign in (1, 0, -1)))

    @property
    def pairs(self) -> int:
        """All of them."""
        return self.same + self.tied + self.other

    @property
    def told_apart(self) -> float:
        """The share of the same order, of the pairs that the second judgement tells apart."""
        return self.same / (self.same + self.other)

    def row(self, name: str) -> list[str]:
        """Ties as wrong, as half right, and left out."""
        shares = (self.same / self.pairs, (self.same + self.tied / 2) / self.pairs, self.told_apart)
        return [name, str(self.pairs), f"{self.tied / self.pairs:.1%}", *(f"{share:.1%}" for share in shares)]


def at_best(agreement: float) -> float:
    """The most that a model can be right, if two judgements agree so often: agreement = right^2 + (1 - right)^2.

    Of one viewer: the accuracy of one who knows what the viewer thinks, where each judgement errs from it independently
    and equally often. Of two viewers: if a share s prefers one image, two agree with s^2 + (1 - s)^2, and a model that
    says the same to everybody is right with max(s, 1 - s); over pairs this is an upper bound (Jensen).

    >>> round(at_best(0.82), 6)  # 0.9 * 0.9 + 0.1 * 0.1
    0.9
    """
    return (1 + sqrt(2 * agreement - 1)) / 2


def rated(table: PreferenceTable) -> PreferenceTable:
    """The images with all three ratings (0: not given), and their place in the session."""
    images = table.images[(table.images[list(RATINGS)] > 0).all(axis=1)].reset_index(drop=True)
    first = (images["image"] == 1).astype(float)
    return replace(table, images=images.assign(place=images["image"].astype(float), shown_first=first))


def earlier_preferred(table: PreferenceTable) -> dict[str, float]:
    """The share of pairs in which the image that was shown earlier ranks higher, by how the viewer rated the two."""
    pairs = table.pairs()
    place, *ratings = table.images[["place", *RATINGS]].to_numpy(dtype=float).T
    equal = np.stack([values[pairs.better] == values[pairs.worse] for values in ratings])
    earlier, overall = place[pairs.better] < place[pairs.worse], equal[0]
    kinds = {"all": np.ones_like(overall), "overall differs": ~overall, "overall equal": overall}
    return {kind: float(earlier[of].mean()) for kind, of in (kinds | {"all three equal": equal.all(axis=0)}).items()}


def own_orders(table: PreferenceTable, rating: str) -> Orders:
    """How a viewer's rating orders the pairs that the viewer ranked."""
    pairs, values = table.pairs(), table.images[rating].to_numpy(dtype=float)
    return Orders.of(values[pairs.better] - values[pairs.worse])


def two_raters(path: Path) -> Orders:
    """How a second rater orders the pairs of images of one prompt that the first one tells apart, in TIFA160."""
    by_prompt = defaultdict[str, list[Sequence[float]]](list)
    for image in read_json(path).values():
        by_prompt[image["text_id"]].append(image["human_scores"])
    pairs = [pair for ratings in by_prompt.values() for pair in combinations(np.array(ratings, dtype=float), 2)]
    first, second = np.stack([one - other for one, other in pairs]).T
    return Orders.of((second * np.sign(first))[first != 0])


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="The FERGI folder, as for fergi-reward calibrate.")
@click.option("--two-raters", "tifa", type=click.Path(path_type=Path), help="TIFA160's annotations, in which two rate.")
def main(data: Path | None, tifa: Path | None) -> None:
    """Print how often second judgements agree, what that bounds, and what the place of an image says."""
    table = rated(read_fergi(locate(data)).with_reactions())
    orders = {f"FERGI, own {name.replace('_', ' ')}": own_orders(table, name) for name in RATINGS}
    if tifa:
        orders["TIFA160, another rater"] = two_raters(tifa)
    columns = ["second judgement", "pairs", "ties", "ties wrong", "ties half right", "ties left out"]
    print(tabulate([order.row(name) for name, order in orders.items()], columns, tablefmt="github"), end="\n\n")
    for name, order in orders.items():
        print(f"{name}, ties left out: at best {at_best(order.told_apart):.1%}")
    shares = (f"{share:.1%} ({kind})" for kind, share in earlier_preferred(table).items())
    print(f"the image shown earlier ranks higher, by the ratings of the two: {', '.join(shares)}")
    smiles = table.images.groupby("image")["au12"].mean()
    print(f"mean activation of AU12 by the place of the image: {', '.join(f'{smile:.2f}' for smile in smiles)}")
    rows = []
    for name, terms in MODELS.items():
        model = Model(name, terms, table, table.pairs())
        result = evaluate_held_out(held_out_margins(model, choose(model, 0)), 0)
        interval = f"{100 * result.ci95[0]:.1f} - {100 * result.ci95[1]:.1f}"
        rows.append([name, f"{result.correct}/{result.pairs}", f"{result.accuracy:.1%}", interval, result.log_loss])
    columns = ["left-out participants", "pairs right", "accuracy", "95 % interval", "log-loss"]
    print("\n" + tabulate(rows, columns, tablefmt="github", floatfmt=".4f"))


if __name__ == "__main__":
    main()
