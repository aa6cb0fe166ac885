"""Ten ideas against the present model, each participant judged by fits without them: docs/TRYING_FOR_70.md.

python eval/fergi/ideas/try_ideas.py --data ../FERGI --out runs/ideas
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from boosted import boosted
from interactions import interactions
from linear import fit_linear, losses, present, present_penalties
from more_scorers import more_scorers
from numpy.typing import NDArray
from participants import Floats, Participants, leave_out
from plackett_luce import plackett_luce
from position import position
from raters import raters
from relative import relative
from stacking import stacking
from tabulate import tabulate
from time_course import time_course, with_courses

from fergi_reward.core.progress import Progress
from fergi_reward.data.fergi import locate, read_fergi
from fergi_reward.data.table import PreferenceTable

RESAMPLES = 10_000
Idea = Callable[[Participants, Participants], Floats]


def present_model(training: Participants, left_out: Participants) -> Floats:
    """Three scorers and twelve action units, as protocol `bradley-terry` fits them."""
    return fit_linear(training, present, present_penalties()).log_odds(left_out)


IDEAS: dict[str, Idea] = {
    "present model": present_model,
    "1 hierarchical prior over raters": raters,
    "2 interactions of face and scorers": interactions,
    "3 time course": time_course,
    "4 Plackett-Luce": plackett_luce,
    "5 monotone boosted model": boosted,
    "6 stacking": stacking,
    "7 activations relative to the person": relative,
    "8 position": position,
    "9 three more scorers": more_scorers,
}
AVERAGE = "10 average"


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="The FERGI folder, as for fergi-reward calibrate.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Keeps the log-odds of each idea.")
def main(data: Path | None, out: Path) -> None:
    """Print the table; what is in the folder already, by the same programs on the same data, is not computed again."""
    folder = locate(data)
    table = read_fergi(folder).with_reactions()
    table = replace(table, images=with_courses(folder, table.images))
    out.mkdir(parents=True, exist_ok=True)
    found = {name: _kept(name, idea, table, out) for name, idea in IDEAS.items()}
    found[AVERAGE] = np.mean(list(found.values()), axis=0)
    print(tabulate(rows(found, table.pairs().users), headers="keys", tablefmt="github", disable_numparse=True))


def _kept(name: str, idea: Idea, table: PreferenceTable, out: Path) -> Floats:
    """The log-odds of the preferred image of every pair, (P,)."""
    modules = {idea.__module__, "participants", "linear", "boosted"} - {"__main__"}
    sources = b"".join((Path(__file__).parent / f"{module}.py").read_bytes() for module in sorted(modules))
    path = out / f"{name.split()[0]}-{hashlib.sha256(sources + table.fingerprint().encode()).hexdigest()[:16]}.npy"
    if not path.exists():
        with path.with_suffix(".part").open("wb") as file:
            np.save(file, held_out(name, idea, table))
        path.with_suffix(".part").rename(path)
    kept: Floats = np.load(path)
    return kept


def held_out(name: str, idea: Idea, table: PreferenceTable) -> Floats:
    """The log-odds of the preferred image of every pair by fits without its participant, (P,)."""
    users = table.pairs().users
    log_odds = np.empty(len(users))
    for user in Progress(np.unique(users).tolist(), desc=name, unit="participant"):
        training, left_out, sign = leave_out(table, user)
        log_odds[users == user] = sign * idea(training, left_out)
    return log_odds


def rows(found: dict[str, Floats], users: NDArray[np.str_]) -> list[dict[str, str]]:
    """A row for each idea, with its log-loss less that of the first one, and intervals over participants."""
    person = np.unique(users, return_inverse=True)[1]
    draws = np.random.default_rng(0).integers(person.max() + 1, size=(RESAMPLES, person.max() + 1))
    pairs, base, table = np.bincount(person)[draws].sum(axis=1), next(iter(found.values())), []
    for name, log_odds in found.items():
        excess = losses(log_odds) - losses(base)
        resampled = np.bincount(person, excess)[draws].sum(axis=1) / pairs
        right = int((log_odds > 0).sum())
        table.append(
            {
                "idea": name,
                "log-loss": f"{losses(log_odds).mean():.4f}",
                "less present": f"{excess.mean():+.4f}",
                **{f"{level} %": _interval(resampled, level) for level in (95, 99.5)},
                "pairs right": f"{right}/{len(log_odds)}",
                "accuracy": f"{right / len(log_odds):.1%}",
            }
        )
    return table


def _interval(values: Floats, level: float) -> str:
    low, high = np.percentile(values, [50 - level / 2, 50 + level / 2])
    return f"{low:+.4f} to {high:+.4f}"


if __name__ == "__main__":
    main()
