"""What a sensitivity per rater is worth: on FERGI's participants, and on simulated raters of whom some are careless.

python eval/fergi/rater_sensitivity.py --data ../FERGI
"""

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tabulate import tabulate

from fergi_reward.calibration.bradley_terry import SCORERS
from fergi_reward.calibration.judged_weights import fit_judged_weights
from fergi_reward.data.fergi import locate, read_fergi
from fergi_reward.data.judgements import Judgements, from_ratings
from fergi_reward.stats.intervals import Interval

RATERS, PAIRS, WEIGHTS = 100, 20, (2.0, -1.0, 1.0)


def participants(data: Path | None) -> Iterator[tuple[str, Judgements]]:
    """FERGI's participants as raters, by their ranks and by their overall ratings."""
    images = read_fergi(locate(data)).images
    names = images[["user", "session", "image"]].astype(str)
    table = images.assign(
        rater=names["user"], prompt=names["user"] + "/" + names["session"], picture=names.agg("/".join, axis=1)
    )
    for column in ("rank", "overall_rating"):
        judgements = from_ratings(table, prompt="prompt", image="picture", rating=column, rater="rater")
        yield f"FERGI, {column.replace('_', ' ')}", judgements


def simulated(sensitivity: NDArray[np.float64]) -> Judgements:
    """Pairs of raters with these sensitivities, who judge three scores."""
    rng, rater = np.random.default_rng(0), np.repeat(np.arange(RATERS), PAIRS)
    scores = rng.normal(size=(2 * len(rater), len(WEIGHTS)))
    first, second = np.arange(0, len(scores), 2), np.arange(1, len(scores), 2)
    margins = sensitivity[rater] * ((scores[first] - scores[second]) @ np.array(WEIGHTS))
    likes_first = margins > rng.logistic(size=len(rater))
    pictures = pd.DataFrame(scores, columns=list("abc")).assign(prompt=0, image=np.arange(len(scores)))
    sides = {"better": np.where(likes_first, first, second), "worse": np.where(likes_first, second, first)}
    pairs = pd.DataFrame({**sides, "tied": False, "weight": 1.0, "group": rater.astype(str)})
    return Judgements(pictures, pairs, "rater")


def tried(name: str, judgements: Judgements, scorers: list[str]) -> list[object]:
    """A row of the table."""
    found = fit_judged_weights(judgements, scorers, rater_sensitivity=True).sensitivity
    assert found is not None
    gains = [found.gain, _shown(found.ci95), found.total_gain, _shown(found.total_ci95)]
    return [name, found.raters, found.spread, *gains, "used" if found.used else "off"]


def _shown(interval: Interval) -> str:
    return f"{interval[0]:.4f} to {interval[1]:.4f}"


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="The FERGI folder, as for fergi-reward calibrate.")
def main(data: Path | None) -> None:
    """Print the gains in log-loss on raters left out."""
    number = np.arange(RATERS)
    spread = np.exp(np.random.default_rng(1).normal(size=RATERS))
    made_up = {
        "simulated, all alike": np.ones(RATERS),
        "simulated, one in ten answers at random": (number % 10 > 0) * 1.0,
        "simulated, half answer at random": (number % 2) * 1.0,
        "simulated, log s has standard deviation 1": spread,
    }
    rows = [tried(name, judgements, [*SCORERS]) for name, judgements in participants(data)]
    rows += [tried(name, simulated(sensitivity), list("abc")) for name, sensitivity in made_up.items()]
    columns = ["judgements", "raters", "spread", "gain", "95 % interval", "of the total", "95 % interval", "verdict"]
    print(tabulate(rows, columns, tablefmt="github", floatfmt=("", "", ".2f", ".4f", "", ".4f", "", "")))


if __name__ == "__main__":
    main()
