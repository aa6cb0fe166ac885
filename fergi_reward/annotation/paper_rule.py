"""The FERGI paper's rule: a pair is annotated where the AU4 valences of its pictures differ enough."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fergi_reward.annotation.learned import candidates
from fergi_reward.annotation.outcome import Outcome, agreement
from fergi_reward.annotation.pairs import Annotation, counts, pairs_of, tidy
from fergi_reward.annotation.people import calm
from fergi_reward.annotation.signals import term_sets
from fergi_reward.calibration.calibration import Calibration, Fit
from fergi_reward.calibration.grid import best_selection, selection_gains
from fergi_reward.data.table import PreferenceTable
from fergi_reward.reactions.clip import valence
from fergi_reward.reactions.scale import per_unit
from fergi_reward.reactions.sources import check_source
from fergi_reward.reactions.table import ReactionTable


@dataclass(frozen=True)
class Rule:
    """Annotate a pair when the valences of its pictures differ by more than a threshold; the higher one is better.

    Attributes:
        decay: Decay coefficient of the valence.
        threshold: In [0, 1).
    """

    decay: float
    threshold: float


def paper_rule(table: PreferenceTable) -> Rule:
    """The decay and threshold with the most (right - 2 x wrong) annotations: FERGI paper, arXiv 2312.03187.

    Args:
        table: Ranked pictures, all with `au4`.
    """
    pairs = table.pairs()
    gains = selection_gains(pairs, table.columns(["au4"])[:, 0] / table.au_unit)
    chosen = best_selection(gains, np.ones(len(pairs), dtype=bool))
    return Rule(per_unit(chosen.decay, table.au_unit), chosen.threshold)


def rules_for(ranked: PreferenceTable, users: Sequence[str]) -> dict[str, Rule]:
    """The rule for each user, chosen on other people."""
    if not set(users) & set(ranked.users):
        return dict.fromkeys(users, paper_rule(ranked))
    return {user: paper_rule(ranked.without_users([user])) for user in users}


def run_paper_rule(ranked: PreferenceTable, viewers: ReactionTable, calibration: Calibration) -> Outcome:
    """Annotate the pictures that some viewers looked at by the paper's rule, from AU4 alone; it promises nothing.

    Args:
        ranked: People who ranked what they saw; restless ones are left out, as among the viewers.
        viewers: People to annotate.
        calibration: Says how sure each pair is.

    Raises:
        FergiRewardError: The three were not measured alike, or nobody is left.
    """
    for what, table in (("people to annotate", viewers), ("people who ranked (--data)", ranked)):
        check_source("the calibration was fitted on", calibration.au_source, f"reactions of {what}", table.au_source)
    term_sets("au4", ranked, viewers)
    known, kept, excluded, notes = calm(ranked, viewers)
    everybody = kept.images
    kept, fit = kept.with_reactions(), calibration.fit_for(["au4"])
    rules = rules_for(known.with_reactions(), kept.users)
    found = pd.concat([_of(user, kept.images, fit, rules[user]) for user in kept.users], ignore_index=True)
    annotation = Annotation(tidy(found[found["chosen"]], kept), counts(found), pairs_of(everybody) - len(found))
    thresholds = sorted({rule.threshold for rule in rules.values()})
    span = f"{thresholds[0]:g}" + (f" to {thresholds[-1]:g}" if len(thresholds) > 1 else "")
    cut = f"valences further apart than {span}"
    return Outcome(annotation, None, cut, len(rules), excluded, agreement(annotation, kept), tuple(notes))


def _of(user: str, images: pd.DataFrame, fit: Fit, rule: Rule) -> pd.DataFrame:
    """The pairs of a user with their confidence, and whether the rule annotates them."""
    own = images[images["user"] == user]
    pairs, activations = candidates(own, [fit]), own.set_index(["session", "image"])["au4"]
    better, worse = (_valences(pairs, side, activations, rule) for side in ("better", "worse"))
    confidence = 1 / (1 + np.exp(-pairs["log_odds"]))
    return pairs.assign(user=user, confidence=confidence, chosen=better - worse > rule.threshold)


def _valences(pairs: pd.DataFrame, side: str, activations: "pd.Series[float]", rule: Rule) -> NDArray[np.float64]:
    at = pd.MultiIndex.from_arrays([pairs["session"], pairs[side]])
    return valence(activations.reindex(at).to_numpy(dtype=float), rule.decay)
