"""Pairs that faces annotate, and how often they are right where the viewers ranked what they saw."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fergi_reward.annotation.rules import Rule
from fergi_reward.calibration.calibration import Fit
from fergi_reward.reactions.clip import valence
from fergi_reward.stats.held_out import HeldOut

COLUMNS = ["user", "session", "better", "worse", "difference", "confidence"]


@dataclass(frozen=True)
class Annotation:
    """What a rule says of the pictures of some viewers.

    Attributes:
        pairs: One row an annotated pair: `user`, `session`, the images `better` and `worse`, the `difference` in
            valence, above the rule's threshold, and `confidence`, the probability that the viewer does prefer the
            better one.
        candidates: How many pairs there were to choose from.
    """

    pairs: pd.DataFrame
    candidates: int

    @property
    def coverage(self) -> float:
        """The share of the pairs that were annotated, in [0, 1]."""
        return len(self.pairs) / max(1, self.candidates)


def annotate(images: pd.DataFrame, rules: Mapping[str, Rule], fit: Fit) -> Annotation:
    """Say of every two pictures of a session which one the viewer prefers, where the face says enough.

    Args:
        images: `user`, `session`, `image` and `au4`, the activation; pictures without a valid clip have NaN and are in
            no pair.
        rules: By user.
        fit: A calibration's fit of `au4` alone, for the confidence.
    """
    seen = images.loc[images["au4"].notna(), ["user", "session", "image", "au4"]].reset_index(drop=True)
    rule_of = seen["user"].map(rules)
    seen["valence"] = valence(seen["au4"].to_numpy(dtype=float), np.array([rule.decay for rule in rule_of]))
    seen["row"] = np.arange(len(seen))
    both = seen.merge(seen, on=["user", "session"], suffixes=("_better", "_worse"))
    candidates = int((both["row_better"] < both["row_worse"]).sum())
    both["difference"] = both["valence_better"] - both["valence_worse"]
    threshold = np.array([rules[user].threshold for user in both["user"]])
    chosen = both[both["difference"] > threshold]
    chosen = chosen.rename(columns={"image_better": "better", "image_worse": "worse"})
    (term,) = fit.terms
    faces = {
        side: valence(chosen[f"au4_{side}"].to_numpy(dtype=float), fit.decay or 0.0) for side in ("better", "worse")
    }
    log_odds = term.weight * (faces["better"] - faces["worse"]) / term.std
    confidence = 1 / (1 + np.exp(-log_odds))
    return Annotation(chosen.assign(confidence=confidence)[COLUMNS].reset_index(drop=True), candidates)


def checked(annotation: Annotation, images: pd.DataFrame) -> HeldOut:
    """The annotated pairs of viewers who also ranked the pictures, for `evaluate_held_out`: how often were they right?

    Args:
        annotation: Annotation of these pictures.
        images: `user`, `session`, `image` and `rank`.
    """
    pairs, ranks = annotation.pairs, images[["user", "session", "image", "rank"]]
    for side in ("better", "worse"):
        named = ranks.rename(columns={"image": side, "rank": f"rank_{side}"})
        pairs = pairs.merge(named, on=["user", "session", side], how="inner")
    margins = (pairs["rank_better"] - pairs["rank_worse"]).to_numpy(dtype=float)
    return HeldOut("au4", margins, pairs["user"].to_numpy(dtype=str))
