"""What running a protocol gives: a calibration, and how it did."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from fergi_reward.calibration.calibration import Calibration, Fit
from fergi_reward.calibration.outcome import Effect, Outcome
from fergi_reward.calibration.registry import PROTOCOLS
from fergi_reward.calibration.signals import rating_correlations, rating_regressions
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.registry import blaming, takes
from fergi_reward.data.table import PreferenceTable
from fergi_reward.stats.held_out import HeldOut, HeldOutResult, evaluate_held_out
from fergi_reward.version import __version__


@dataclass(frozen=True)
class Evaluation:
    """What a protocol gives on a table: weights, and how they do on people that they have not seen.

    Attributes:
        calibration: The weights, with their provenance.
        results: How each model did on left-out participants, by name.
        held_out: What each model said of each pair.
        reaction: What models call the viewer's face: `au4`, or a name of several action units.
        effects: What each action unit adds, where the protocol tells.
        correlations: Spearman's, of each action unit's activation with the overall rating; empty without ratings.
        regressions: What a point of alignment and a point of fidelity move each signal by, in standard deviations.
        published: Published accuracies of the same models, in percent; empty where the data are not FERGI's.
        left_out: Participants, clips and rows that were not used, and why.
    """

    calibration: Calibration
    results: dict[str, HeldOutResult]
    held_out: tuple[HeldOut, ...]
    reaction: str
    effects: dict[str, Effect]
    correlations: dict[str, float]
    regressions: dict[str, tuple[float, float]]
    published: dict[str, float]
    left_out: dict[str, Any]


def calibrate(
    table: PreferenceTable,
    protocol: str = "bradley-terry",
    *,
    scorers: Sequence[str] | None = None,
    aus: Sequence[str] | None = None,
    seed: int = 0,
    command: str = "",
) -> Evaluation:
    """Fit the weights of the reward to preferences, and judge them on participants they have not seen.

    Args:
        table: The preferences.
        protocol: `bradley-terry` (the project's own), `paper-v1` or `paper-v3` (as published), or another package's.
        scorers: The columns to weigh, for protocols that take them, as `bradley-terry` does; by default the paper's.
        aus: The action units to weigh, likewise, or `["all"]`; by default `au4`.
        seed: Seed of folds and bootstrap intervals.
        command: Noted in the calibration.

    Raises:
        FergiRewardError: The protocol is unknown, or the table lacks what it needs.
    """
    found = PROTOCOLS.get(protocol)
    options = {name: value for name, value in (("scorers", scorers), ("aus", aus)) if value is not None}
    for name, value in options.items():
        if name not in takes(found.target):
            raise FergiRewardError(
                f"{protocol} chooses itself what it weighs: leave {name} out, got {', '.join(value)}"
            )
    with blaming(f"the protocol {protocol!r}", found.origin):
        outcome = found.target(table, seed, **options)
    if not isinstance(outcome, Outcome):
        raise FergiRewardError(
            f"the protocol {protocol!r} ({found.origin}) gave a {type(outcome).__name__}, must give an Outcome"
        )
    results = {
        held_out.model: evaluate_held_out(held_out, seed) for held_out in outcome.held_out if len(held_out.margins)
    }
    calibration = Calibration(
        protocol=protocol,
        au_source=_source(table),
        fits=tuple(_with_result(fit, results) for fit in outcome.fits),
        dataset=_dataset(outcome.table),
        library_version=__version__,
        command=command,
        seed=seed,
    )
    return Evaluation(
        calibration,
        results,
        outcome.held_out,
        outcome.reaction,
        outcome.effects,
        {unit: test.value for unit, test in rating_correlations(outcome.table).items()},
        {
            signal: (a.value, f.value)
            for signal, (a, f) in rating_regressions(outcome.table, calibration.scorers).items()
        },
        outcome.published,
        _left_out(table, outcome),
    )


def _source(table: PreferenceTable) -> str:
    if table.au_source is None:
        raise FergiRewardError("the preference table does not say what measured its action units: give it an au_source")
    return table.au_source


def _left_out(table: PreferenceTable, outcome: Outcome) -> dict[str, Any]:
    """What was not used: participants and why, images of the others without a valid clip, bad rows."""
    paired = set(outcome.table.pairs().users)
    unpaired = [user for user in table.users if user not in paired and user not in outcome.excluded]
    kept = table.images[~table.images["user"].isin(outcome.excluded)]
    return {
        "participants": outcome.excluded | {user: "no pair of images with valid reaction clips" for user in unpaired},
        "images_without_valid_reaction": len(kept) - len(outcome.table.images),
        "bad_rows": list(table.left_out),
    }


def _with_result(fit: Fit, results: dict[str, HeldOutResult]) -> Fit:
    result = results.get(fit.name)
    if result is None:
        return fit
    return replace(fit, accuracy=result.accuracy, ci95=result.ci95, log_loss=result.log_loss)


def _dataset(table: PreferenceTable) -> dict[str, Any]:
    pairs = table.pairs()
    return {
        "fingerprint": table.fingerprint(),
        "participants": len(set(pairs.users)),
        "users": sorted(map(str, set(pairs.users))),
        "images": len(table.images),
        "pairs": len(pairs),
        **({"mapped_from": table.mapped_from} if table.mapped_from else {}),
        **({"au_unit": table.au_unit} if table.au_unit != 1 else {}),
    }
