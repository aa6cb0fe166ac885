"""An annotation from end to end: choose a rule on people who ranked, apply it to people who only looked."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fergi_reward.annotation.pairs import Annotation, annotate, checked
from fergi_reward.annotation.rules import Rule, guaranteed_rule, paper_rule
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.calibration.grid import unsteady_participants
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.table import PreferenceTable
from fergi_reward.files.atomic import write_text
from fergi_reward.reactions.source_map import SourceMap
from fergi_reward.reactions.sources import check_source
from fergi_reward.reactions.table import ReactionTable
from fergi_reward.stats.held_out import HeldOutResult, evaluate_held_out


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
        rules: By user.
        excluded: Viewers who were not annotated, and why.
        result: How often the annotations agree with the viewers' own ranks; None where these are not known.
        notes: What to know of the figures.
    """

    annotation: Annotation
    rules: Mapping[str, Rule]
    excluded: Mapping[str, str]
    result: HeldOutResult | None
    notes: Sequence[str] = ()


def run(
    ranked: PreferenceTable, viewers: ReactionTable, calibration: Calibration, promised: Promised | None = None
) -> Outcome:
    """Annotate the pictures that some viewers looked at.

    Restless viewers, and those without a baseline clip, are left out on both sides, as in the FERGI paper; where nobody
    on a side has one, nobody there is.

    Args:
        ranked: People who ranked what they saw: the rule is chosen on them.
        viewers: People to annotate; ranks are not needed, and not looked at but to say how often the annotations are
            right.
        calibration: Says how sure each pair is.
        promised: What the rule must keep; by default it is the paper's rule, which promises nothing.

    Raises:
        FergiRewardError: The three were not measured alike, nobody is left, or no rule keeps what is promised.
    """
    for what, table in (("people to annotate", viewers), ("people who ranked (--data)", ranked)):
        check_source("the calibration was fitted on", calibration.au_source, f"reactions of {what}", table.au_source)
    excluded = unsteady(viewers)
    kept = viewers.without_users(excluded).with_reactions()
    if not kept.users:
        raise FergiRewardError(f"none of the {len(viewers.users)} viewers can be annotated: all were left out")
    known = ranked.without_users(unsteady(ranked)).with_reactions()
    rules = choose_rules(known, kept.users, promised)
    annotation = annotate(kept.images, rules, calibration.fit_for(["au4"]))
    annotation = replace(annotation, pairs=annotation.pairs.assign(au_source=viewers.measured_by))
    notes = [
        f"nobody {side} is left out as restless: there are no baseline clips of them"
        for side, table in (("to annotate", viewers), ("who ranked", ranked))
        if not table.has_baseline
    ]
    if promised and viewers.mapped_from:
        notes.append(f"the promise holds as far as the map from {viewers.mapped_from} does")
    return Outcome(annotation, rules, excluded, _agreement(annotation, kept), notes)


def on_one_scale(
    ranked: PreferenceTable, viewers: ReactionTable, source_map: SourceMap
) -> tuple[PreferenceTable, ReactionTable]:
    """Both sides, with what comes from the source of a map mapped.

    Raises:
        FergiRewardError: The map is for neither.
    """
    if ranked.au_source == source_map.from_source:
        ranked = ranked.mapped(source_map)
        if viewers.au_source == source_map.to_source:
            return ranked, viewers
    return ranked, viewers.mapped(source_map)


def unsteady(table: ReactionTable) -> dict[str, str]:
    """Participants to leave out, and why; nobody where nobody has a baseline clip to go by."""
    return unsteady_participants(table) if table.has_baseline else {}


def _agreement(annotation: Annotation, viewers: ReactionTable) -> HeldOutResult | None:
    """How often the annotations are right, where the viewers' ranks are known."""
    if not isinstance(viewers, PreferenceTable):
        return None
    agreement = checked(annotation, viewers.images)
    return evaluate_held_out(agreement, seed=0) if len(agreement.margins) else None


def choose_rules(ranked: PreferenceTable, users: list[str], promised: Promised | None) -> dict[str, Rule]:
    """A rule for each user, chosen on other people."""
    if promised:
        others = ranked.without_users(users)
        if not others.users:
            raise FergiRewardError(
                f"a promise is about other people than those who ranked, and all {len(users)} viewers did: name the "
                "folder of the others with --reactions"
            )
        return dict.fromkeys(users, guaranteed_rule(others, promised.accuracy, promised.confidence, len(users)))
    if not set(users) & set(ranked.users):
        return dict.fromkeys(users, paper_rule(ranked))
    return {user: paper_rule(ranked.without_users([user])) for user in users}


def write_pairs(outcome: Outcome, path: Path | str) -> None:
    """One JSON object per line, with the columns of `Outcome.annotation`; for its owner alone: it is about people."""
    records = outcome.annotation.pairs.to_dict("records")
    write_text(path, "".join(json.dumps(record) + "\n" for record in records), private=True)


def summary(outcome: Outcome) -> str:
    """What was annotated and how often it was right, for people to read."""
    annotation, result = outcome.annotation, outcome.result
    thresholds = sorted({rule.threshold for rule in outcome.rules.values()})
    span = f"{thresholds[0]:g}" + (f" to {thresholds[-1]:g}" if len(thresholds) > 1 else "")
    lines = [
        f"{len(annotation.pairs)} of {annotation.candidates} pairs of {len(outcome.rules)} viewers annotated "
        f"({annotation.coverage:.1%}): valences further apart than {span}"
    ]
    if result:
        low, high = result.ci95
        lines.append(
            f"by the viewers' own ranks {result.correct} of {result.pairs} are right: {result.accuracy:.2%} "
            f"(95 % interval {low:.1%} - {high:.1%})"
        )
    elif len(annotation.pairs):
        lines.append("the viewers' own ranks are not known: nothing here says how often the annotations are right")
    lines += [f"left out: {user}, {reason}" for user, reason in outcome.excluded.items()]
    return "\n".join([*lines, *outcome.notes])
