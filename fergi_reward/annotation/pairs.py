"""Annotated pairs, and how often they are right where the viewers ranked what they saw."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fergi_reward.reactions.table import ReactionTable
from fergi_reward.stats.held_out import HeldOut

COLUMNS = ["user", "session", "better", "worse", "confidence", "signals"]


@dataclass(frozen=True)
class Annotation:
    """What is said of the pictures of some viewers.

    Attributes:
        pairs: One row an annotated pair: `user`, `session`, the images `better` and `worse`, `confidence`, the
            probability that the viewer does prefer the better one, and `signals`, what says so.
        signals: How many pairs there were to choose from, by what is known of both pictures.
        unknown: How many more were not, as too little is known of one of their pictures.
    """

    pairs: pd.DataFrame
    signals: Mapping[str, int]
    unknown: int = 0

    @property
    def candidates(self) -> int:
        """How many pairs there were to choose from."""
        return sum(self.signals.values())

    @property
    def coverage(self) -> float:
        """The share of the candidates that were annotated, in [0, 1]."""
        return len(self.pairs) / max(1, self.candidates)

    @property
    def expected_accuracy(self) -> float | None:
        """The share of the annotated pairs that should be right, by their confidence."""
        return float(self.pairs["confidence"].mean()) if len(self.pairs) else None


def pairs_of(images: pd.DataFrame) -> int:
    """How many pairs of pictures there are within sessions."""
    sizes = images.groupby(["user", "session"]).size()
    return int((sizes * (sizes - 1) // 2).sum())


def counts(pairs: pd.DataFrame) -> dict[str, int]:
    """How many pairs are from which signals, most first."""
    return {str(name): int(count) for name, count in pairs["signals"].value_counts().items()}


def tidy(pairs: pd.DataFrame, viewers: ReactionTable) -> pd.DataFrame:
    """Pairs as they are written, with what measured the faces."""
    return pairs[COLUMNS].reset_index(drop=True).assign(au_source=viewers.measured_by)


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
    confidence = pairs["confidence"].to_numpy(dtype=float).clip(max=1 - 1e-12)
    right = np.sign((pairs["rank_better"] - pairs["rank_worse"]).to_numpy(dtype=float))
    margins = right * np.log(confidence / (1 - confidence))
    return HeldOut("annotation", margins, pairs["user"].to_numpy(dtype=str), is_log_odds=True)
