"""What an annotation found: the record, the summary, the file of pairs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fergi_reward.annotation.pairs import Annotation, checked, counts
from fergi_reward.data.table import PreferenceTable
from fergi_reward.files.atomic import write_text
from fergi_reward.reactions.table import ReactionTable
from fergi_reward.stats.held_out import HeldOutResult, evaluate_held_out

# What the paper's rule reaches on FERGI.
EXPECTED = 0.75


@dataclass(frozen=True)
class Expected:
    """The share of annotations that should be right, in (0.5, 1); nothing is promised."""

    accuracy: float = EXPECTED


@dataclass(frozen=True)
class Promised:
    """A share of annotations that must be right, and the confidence in it; both in (0.5, 1)."""

    accuracy: float
    confidence: float


@dataclass(frozen=True)
class Outcome:
    """What was annotated.

    Attributes:
        annotation: The pairs; `au_source` says what measured the faces.
        target: What was asked for; None for the paper's rule.
        cut: Where the annotated pairs begin, as a part of a sentence.
        viewers: How many people had pairs to choose from.
        excluded: Viewers who were not annotated, and why.
        result: How often the annotations agree with the viewers' own ranks; None where these are not known.
        notes: What to know of the figures.
    """

    annotation: Annotation
    target: Expected | Promised | None
    cut: str
    viewers: int
    excluded: Mapping[str, str]
    result: HeldOutResult | None
    notes: Sequence[str] = ()


def agreement(annotation: Annotation, viewers: ReactionTable) -> HeldOutResult | None:
    """How often the annotations are right; None where no rank of the viewers is known."""
    if not isinstance(viewers, PreferenceTable):
        return None
    held_out = checked(annotation, viewers.images)
    return evaluate_held_out(held_out, seed=0) if len(held_out.margins) else None


def write_pairs(outcome: Outcome, path: Path | str) -> None:
    """One JSON object per line, with the columns of `Outcome.annotation`; for its owner alone: it is about people."""
    records = outcome.annotation.pairs.to_dict("records")
    write_text(path, "".join(json.dumps(record) + "\n" for record in records), private=True)


def summary(outcome: Outcome) -> str:
    """What was annotated and how often it was right, for people to read."""
    annotation, result = outcome.annotation, outcome.result
    annotated = counts(annotation.pairs)
    lines = [
        f"{len(annotation.pairs):,} of {annotation.candidates:,} pairs of {outcome.viewers} viewers annotated "
        f"({annotation.coverage:.1%}): {outcome.cut}",
        *(f"from {name}: {annotated.get(name, 0):,} of {count:,} pairs" for name, count in annotation.signals.items()),
    ]
    if annotation.unknown:
        lines.append(f"{annotation.unknown:,} more pairs could not be: too little is known of one of the pictures")
    if isinstance(outcome.target, Promised):
        accuracy, confidence = outcome.target.accuracy, outcome.target.confidence
        lines.append(f"promised: at least {accuracy:.0%} of them are right, with a confidence of {confidence:.0%}")
    if annotation.expected_accuracy is not None:
        lines.append(f"by their confidence {annotation.expected_accuracy:.1%} should be right")
    if result:
        low, high = result.ci95
        lines.append(
            f"by the viewers' own ranks {result.correct:,} of {result.pairs:,} are right: {result.accuracy:.2%} "
            f"(95 % interval {low:.1%} - {high:.1%})"
        )
        if result.reliability:
            error = result.reliability.expected_calibration_error
            lines.append(f"confidence and accuracy differ by {100 * error:.1f} points on average")
    elif len(annotation.pairs):
        lines.append("the viewers' own ranks are not known: nothing here says how often the annotations are right")
    lines += [f"left out: {user}, {reason}" for user, reason in outcome.excluded.items()]
    return "\n".join([*lines, *outcome.notes])


def values(outcome: Outcome) -> dict[str, Any]:
    """The same, for programs."""
    annotation, result = outcome.annotation, outcome.result
    return {
        "annotated": len(annotation.pairs),
        "candidates": annotation.candidates,
        "unknown": annotation.unknown,
        "coverage": annotation.coverage,
        "viewers": outcome.viewers,
        "signals": {
            name: {"annotated": counts(annotation.pairs).get(name, 0), "candidates": count}
            for name, count in annotation.signals.items()
        },
        "target": None if outcome.target is None else asdict(outcome.target),
        "least_confidence": float(annotation.pairs["confidence"].min()) if len(annotation.pairs) else None,
        "expected_accuracy": annotation.expected_accuracy,
        "by_own_ranks": None if result is None else _agreeing(result),
        "excluded": dict(outcome.excluded),
        "notes": list(outcome.notes),
    }


def _agreeing(result: HeldOutResult) -> dict[str, Any]:
    return {
        "right": result.correct,
        "pairs": result.pairs,
        "accuracy": result.accuracy,
        "ci95": result.ci95,
        "reliability": None if result.reliability is None else asdict(result.reliability),
    }
