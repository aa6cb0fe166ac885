"""Raters who disagree with the others: who read the scale the other way round, or answered at random."""

import json
import shlex
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binom

from fergi_reward.data.judgements import Judgements

# What pandas reads and writes each format with.
READ = {
    ".csv": ("csv(PLACE, dtype=str, keep_default_na=False)", "csv({}, index=False)"),
    ".parquet": ("parquet(PLACE)", "parquet({}, index=False)"),
    ".jsonl": ("json(PLACE, lines=True, dtype=False)", 'json({}, orient="records", lines=True)'),
    ".json": ("json(PLACE, dtype=False)", 'json({}, orient="records")'),
}
# Chance of naming any rater where all answer at random.
LEVEL = 0.05


def agreement(judgements: Judgements) -> pd.DataFrame:
    """How often each rater prefers the picture of a pair that most of the others prefer.

    Returns:
        By rater, `agreed` and `pairs`: those pairs that the others judged as well, and did not judge half and half. No
        row where raters are not left out in turn, or pictures are those of one rater.
    """
    votes = _votes(judgements)
    return votes.groupby("rater")["agreed"].agg(agreed="sum", pairs="size").astype(int)


def _votes(judgements: Judgements) -> pd.DataFrame:
    """The pairs of `agreement`: who judged, whether most of the others agree, and the two pictures."""
    if judgements.unit != "rater" or judgements.reactions:
        return pd.DataFrame({"rater": [], "agreed": [], "first": [], "second": []}, dtype=int)
    told = judgements.pairs[~judgements.pairs["tied"]]
    first, second = told[["better", "worse"]].min(axis=1), told[["better", "worse"]].max(axis=1)
    vote = (told["better"] == first) * 2 - 1
    others = vote.groupby([first, second]).transform("sum") - vote
    votes = pd.DataFrame({"rater": told["group"], "agreed": vote * others > 0, "first": first, "second": second})
    return votes[others != 0]


def disagreements(judgements: Judgements) -> dict[str, str]:
    """A sentence on each rater who agrees with the others in fewer pairs than chance explains, by the rater's name.

    The exact binomial test takes pairs without a common picture, as those of one ranking are not independent, and is
    corrected for the number of raters (Bonferroni).
    """
    votes, found = _votes(judgements), agreement(judgements)
    sentences = {}
    for rater, agreed, pairs in found.itertuples(name=None):
        if len(found) * binom.cdf(agreed, pairs, 0.5) > LEVEL:  # all pairs as if independent: too easy to pass
            continue
        of_rater = votes[votes["rater"] == rater]
        apart = of_rater.iloc[_without_common_picture(of_rater[["first", "second"]].to_numpy())]["agreed"]
        chance = len(found) * binom.cdf(apart.sum(), len(apart), 0.5)
        if chance <= LEVEL:
            sentences[str(rater)] = (
                f"rater {rater} agrees with most of the other raters in {agreed:,} of {pairs:,} pairs "
                f"({agreed / pairs:.0%}), and in {apart.sum():,} of {len(apart):,} without a common picture (binomial "
                f"test: p = {chance:.2g}, corrected for {len(found):,} raters): are their ratings the other way round?"
            )
    return sentences


def how_to_leave_out(raters: Iterable[str], column: str, place: Path) -> list[str]:
    """What to do about raters whom `disagreements` names; nothing where there are none.

    Args:
        raters: Their names.
        column: The column of the raters.
        place: The table of judgements.
    """
    names, kind = sorted(raters), place.suffix.lower()
    if not names:
        return []
    ask = "ask them; if they did rate the other way round, or at random, leave their rows out, and say so in the paper"
    if kind not in READ or not place.is_file():
        return [ask]
    read, write = READ[kind]
    out = f"{place.stem}_without{place.suffix}"
    program = (
        f"import pandas as pd; t = pd.read_{read}; "
        f"t[~t[{json.dumps(column)}].astype(str).str.strip().isin({json.dumps(names)})].to_{write.format(json.dumps(out))}"
    ).replace("PLACE", json.dumps(str(place)))
    return [f"{ask}: {shlex.join(['python', '-c', program])} writes {out} without them"]


def _without_common_picture(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of pairs (P, 2) of which no two have a picture in common; who won does not decide which."""
    used, rows = set[int](), []
    for row in np.lexsort(pairs.T[::-1]):
        if used.isdisjoint(both := pairs[row].tolist()):
            used.update(both)
            rows.append(row)
    return np.array(rows, dtype=np.int64)
