"""A table of human judgements with a column per score: the margins of columns, and of calibrations that weigh them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fergi_reward.calibration.bradley_terry import reaction_name
from fergi_reward.calibration.calibration import Calibration, Fit, Term
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.judgements import Judgements
from fergi_reward.evaluation.margins import AllMargins, ModelMargins
from fergi_reward.evaluation.preferences_result import JUDGEMENTS, Data, Seen
from fergi_reward.evaluation.run_record import Exclusion
from fergi_reward.evaluation.seen_pairs import seen_pairs
from fergi_reward.evaluation.sentences import split_names
from fergi_reward.reactions.clip import valence
from fergi_reward.stats.held_out import HeldOut

# Other pictures change a scorer's mean (in standard deviations) and its spread by less, another scale by more.
FAR = 5


def judged_margins(
    judgements: Judgements,
    place: str,
    columns: Sequence[str] | None,
    calibrations: Mapping[str, Calibration],
    left_out: Mapping[str, int],
) -> AllMargins:
    """The margins on the pairs that people told apart.

    Args:
        judgements: What they preferred.
        place: Where that is, for the report.
        columns: Scores to judge and to weigh; by default those that the calibrations weigh and the table has.
        calibrations: By the name that reports give them.
        left_out: How many rows of the table say nothing, by reason.

    Raises:
        FergiRewardError: A column cannot be used, there is none, or a calibration has no weights for just these.
    """
    names = list(columns) if columns is not None else _weighed(judgements, calibrations)
    known = [*names, *judgements.reactions]
    measured = dict(zip(known, judgements.scores(known).T, strict=True))
    models = [_model(judgements, name, "scorer", "nothing", measured[name]) for name in names]
    data, notes, hashes = _data(judgements, place), _notes(judgements), judgements.pair_hashes()
    for name, calibration in calibrations.items():
        terms = [term for term in calibration.scorers if term in names]
        if not terms:
            notes.append(f"{name} weighs none of {', '.join(names)}: it is not judged.")
            continue
        _check_fit(name, calibration, terms, judgements)
        seen, overlap, remark = seen_pairs(name, calibration, hashes)
        notes += [remark, *_other_scales(name, calibration, terms, measured)]
        for model, fit in {
            name: calibration.fit_for(terms),
            **_with_faces(name, calibration, terms, judgements),
        }.items():
            total = np.sum([_contribution(term, measured) for term in fit.terms], axis=0)
            log_odds = calibration.protocol == "bradley-terry"
            judged = _model(judgements, model, "calibration", seen, total, log_odds)
            models.append(replace(judged, overlap=overlap))
    return AllMargins(data, models, _exclusions(judgements, left_out), (), (), notes)


def _weighed(judgements: Judgements, calibrations: Mapping[str, Calibration]) -> list[str]:
    """The columns that a calibration weighs."""
    names = [name for each in calibrations.values() for name in each.scorers if name in judgements.pictures]
    if not names:
        known = ", ".join(map(str, judgements.pictures.columns))
        raise FergiRewardError(
            f"no calibration weighs a column of the table: name scores by --scorers, there are {known}"
        )
    return list(dict.fromkeys(names))


def _check_fit(name: str, calibration: Calibration, terms: Sequence[str], judgements: Judgements) -> None:
    """Check that a calibration has weights for the columns, and if not, say which it lacks."""
    missing = [term for term in calibration.scorers if term not in terms]
    if not missing or any({*fit.term_names} == {*terms} for fit in calibration.fits):
        return
    absent = [term for term in missing if term not in judgements.pictures]
    what = f"no column {absent[0]} in the table" if absent else f"no {missing[0]} in --scorers"
    raise FergiRewardError(
        f"{name} weighs {', '.join(calibration.scorers)}, and there is {what}: give it, or weights of "
        f"{', '.join(terms)} alone"
    )


def _with_faces(name: str, calibration: Calibration, terms: Sequence[str], judgements: Judgements) -> dict[str, Fit]:
    """The fits that also weigh the raters' faces, as far as they were measured on its scale, by their models' names."""
    if calibration.au_source != judgements.au_source:
        return {}
    fits = [fit for fit in calibration.fits if fit.units and {*fit.units} <= {*judgements.reactions}]
    return {f"{name}+{reaction_name(fit.units)}": fit for fit in fits if {*fit.term_names} == {*terms, *fit.units}}


def _contribution(term: Term, measured: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """What a term adds to the total of each picture."""
    x = measured[term.name] if term.decay is None else valence(measured[term.name], term.decay)
    return term.weight * (x - term.mean) / term.std


def _model(
    judgements: Judgements,
    name: str,
    kind: Literal["scorer", "calibration"],
    seen: Seen,
    values: NDArray[np.float64],
    is_log_odds: bool = False,
) -> ModelMargins:
    """The margins of a model, from its value for each picture."""
    told = judgements.pairs[~judgements.pairs["tied"]]
    margins = values[told["better"].to_numpy()] - values[told["worse"].to_numpy()]
    held_out = HeldOut(name, margins, told["group"].to_numpy(dtype=str), is_log_odds)
    return ModelMargins(held_out, kind, seen, None, None)


def _other_scales(
    name: str, calibration: Calibration, terms: Sequence[str], measured: Mapping[str, NDArray[np.float64]]
) -> Iterator[str]:
    """Scores that are on another scale than those that a calibration was fitted on."""
    for term in calibration.fit_for(terms).terms if calibration.dataset else ():
        mean, std = measured[term.name].mean(), measured[term.name].std()
        if abs(mean - term.mean) > FAR * term.std or not 1 / FAR < std / term.std < FAR:
            yield (
                f"{name} was fitted on {term.name} of {term.mean:.3g} with a standard deviation of {term.std:.2g}; "
                f"here it is {mean:.3g} with {std:.2g}: on another scale, its weight is wrong."
            )


def _notes(judgements: Judgements) -> list[str]:
    one = "Pairs count once, whatever their weight."
    return [one] * bool((judgements.pairs["weight"] != 1).any()) + split_names(judgements)


def _data(judgements: Judgements, place: str) -> Data:
    told = judgements.pairs[~judgements.pairs["tied"]]
    return Data(
        name=JUDGEMENTS,
        title="own judgements",
        place=place,
        split=None,
        unit=judgements.group_name,
        units=len(judgements.groups),
        images=len(np.union1d(told["better"], told["worse"])),
        pairs=len(told),
        fingerprint=judgements.fingerprint(),
    )


def _exclusions(judgements: Judgements, left_out: Mapping[str, int]) -> list[Exclusion]:
    """Pairs that people could not tell apart, and rows that say nothing."""
    tied = Exclusion(judgements.ties, "pairs", "tied: people could not tell the two apart")
    return [*[tied] * bool(judgements.ties), *(Exclusion(count, "rows", why) for why, count in left_out.items())]
