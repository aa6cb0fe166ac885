"""An annotation from end to end: learn from people who ranked, apply it to people who only looked."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fergi_reward.annotation.learned import Learned, candidates
from fergi_reward.annotation.outcome import Expected, Outcome, Promised, agreement
from fergi_reward.annotation.pairs import Annotation, counts, pairs_of, tidy
from fergi_reward.annotation.people import calm, others
from fergi_reward.annotation.promise import promised_threshold
from fergi_reward.annotation.signals import has_all, term_sets
from fergi_reward.core.progress import Progress
from fergi_reward.data.table import PreferenceTable
from fergi_reward.reactions.clip import is_action_unit
from fergi_reward.reactions.sources import check_source
from fergi_reward.reactions.table import ReactionTable


def run(
    ranked: PreferenceTable,
    viewers: ReactionTable,
    target: Expected | Promised,
    *,
    signals: str | None = None,
    scorers: Sequence[str] | None = None,
    seed: int = 0,
) -> Outcome:
    """Annotate the pictures that some viewers looked at, by what people who ranked teach of their signals.

    Where faces are used, restless viewers, and those without a baseline clip, are left out on both sides, as in the
    FERGI paper; where nobody on a side has one, nobody there is.

    Args:
        ranked: People who ranked what they saw: fits and threshold come from them. A person of both tables is annotated
            by the others.
        viewers: People to annotate; ranks are not needed, and not looked at but to say how often the annotations are
            right.
        target: Which pairs are annotated: the surest ones of which so many should be right, or under a promise.
        signals: As for `term_sets`.
        scorers: As for `term_sets`.
        seed: Seed of the folds in which penalties are chosen.

    Raises:
        FergiRewardError: The two were not measured alike, too little is known, or no threshold keeps what is promised.
    """
    sets = term_sets(signals, ranked, viewers, scorers)
    known, kept, excluded, notes = ranked, viewers, dict[str, str](), list[str]()
    if any(map(is_action_unit, sets[0])):
        whose = "reactions of people to annotate"
        check_source("people who ranked (--data) have", str(ranked.au_source), whose, viewers.au_source)
        known, kept, excluded, notes = calm(ranked, viewers)
    if isinstance(target, Promised):
        known = others(known, kept)
        if viewers.mapped_from:
            notes.append(f"the promise holds as far as the map from {viewers.mapped_from} does")
    learned = Learned(known, [sets[0], *(terms for terms in sets[1:] if _lacking(kept.images, sets[0], terms))], seed)
    found = pd.concat(candidate_pairs(learned, kept), ignore_index=True)
    confidence, log_odds = (found[name].to_numpy(dtype=float) for name in ("confidence", "log_odds"))
    if isinstance(target, Promised):
        people = found["user"].nunique()
        chosen = log_odds > promised_threshold(learned.held_out(), target.accuracy, target.confidence, people)
    else:
        chosen = surest(confidence, target.accuracy)
    pairs = found[chosen & (log_odds > 0)]
    annotation = Annotation(tidy(pairs, kept), counts(found), pairs_of(kept.images) - len(found))
    cut = f"none is sure enough, the surest one is {confidence.max(initial=0.5):.1%} sure"
    if len(pairs):
        cut = f"those that are at least {pairs['confidence'].min():.1%} sure"
    return Outcome(
        annotation, target, cut, found["user"].nunique(), excluded, agreement(annotation, kept), tuple(notes)
    )


def surest(confidence: NDArray[np.float64], accuracy: float) -> NDArray[np.bool_]:
    """The surest pairs of which, by their confidence, this share is right; no rank is looked at.

    >>> surest(np.array([0.9, 0.6, 0.5, 0.7]), 0.75)
    array([ True, False, False,  True])
    """
    order = np.argsort(-confidence, kind="stable")
    means = np.cumsum(confidence[order]) / np.arange(1, len(order) + 1)
    chosen = np.zeros(len(order), dtype=bool)
    chosen[order[means >= accuracy]] = True
    return chosen


def _lacking(images: pd.DataFrame, fullest: Sequence[str], terms: Sequence[str]) -> bool:
    """Whether a picture lacks one of the fullest set of terms and has all of another set."""
    return bool((has_all(images, terms) & ~has_all(images, fullest)).any())


def candidate_pairs(learned: Learned, viewers: ReactionTable) -> Iterator[pd.DataFrame]:
    """The pairs of each viewer to choose from.

    Args:
        learned: From people who ranked.
        viewers: Their pictures.

    Yields:
        `user`, the columns of `candidates`, and `confidence`, the probability of that order.
    """
    known = {}
    for user in Progress(viewers.users, desc="annotating", unit="viewer"):
        whose = user if user in learned.users else None  # all who did not rank share their fits
        if whose not in known:
            known[whose] = learned.fits(whose), learned.slopes(whose)
        fits, slopes = known[whose]
        pairs = candidates(viewers.images[viewers.images["user"] == user], fits)
        log_odds = pairs["signals"].map(slopes).astype(float) * pairs["log_odds"]
        yield pairs.assign(user=user, confidence=1 / (1 + np.exp(-log_odds)))
