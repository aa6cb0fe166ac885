"""Raters who disagree with the others: who read the scale the other way round, or answered at random."""

from collections.abc import Iterator

import pandas as pd

from fergi_reward.data.judgements import Judgements


def agreement(judgements: Judgements) -> pd.DataFrame:
    """How often each rater prefers the picture of a pair that most of the others prefer.

    Returns:
        By rater, `agreed` and `pairs`: those pairs that the others judged as well, and did not judge half and half.
        No row where raters are not left out in turn, or pictures are those of one rater.
    """
    if judgements.unit != "rater" or judgements.reactions:
        return pd.DataFrame({"agreed": [], "pairs": []}, dtype=int)
    told = judgements.pairs[~judgements.pairs["tied"]]
    first, second = told[["better", "worse"]].min(axis=1), told[["better", "worse"]].max(axis=1)
    vote = (told["better"] == first) * 2 - 1
    others = vote.groupby([first, second]).transform("sum") - vote
    votes = pd.DataFrame({"rater": told["group"], "agreed": vote * others > 0})[others != 0]
    return votes.groupby("rater")["agreed"].agg(agreed="sum", pairs="size").astype(int)


def disagreements(judgements: Judgements) -> Iterator[str]:
    """A sentence on each rater who agrees with the others in less than half of the pairs; it names them."""
    found = agreement(judgements)
    for rater, agreed, pairs in found[2 * found["agreed"] < found["pairs"]].itertuples(name=None):
        yield (
            f"rater {rater} agrees with most of the other raters in {agreed:,} of {pairs:,} pairs "
            f"({agreed / pairs:.0%}), which is less than chance: are their ratings the other way round?"
        )
