"""Raters who disagree with the others, counted by hand."""

import numpy as np
import pandas as pd
import pytest

from fergi_reward.data.judgements import from_ratings
from fergi_reward.evaluation.rater_agreement import agreement, disagreements

RATINGS = {"ann": [1, 2, 3], "bob": [1, 3, 5], "cem": [2, 3, 1], "eve": [5, 4, 1]}


def test_who_disagrees_with_most_of_the_others_is_named_with_how_often():
    rows = [
        ("p", picture, rater, rating)
        for rater, of in RATINGS.items()
        for picture, rating in zip("xyz", of, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["prompt", "image", "rater", "rating"])
    judgements = from_ratings(table, prompt="prompt", image="image", rating="rating", rater="rater")
    # y over x: all but eve. z over x and z over y: ann and bob against cem and eve, so each has two opponents.
    assert agreement(judgements).T.to_dict("list") == {"ann": [1, 3], "bob": [1, 3], "cem": [1, 3], "eve": [0, 3]}
    assert not disagreements(judgements)  # three pairs say nothing of anybody


@pytest.mark.parametrize(
    ("prompts", "pictures", "is_named"), [(6, 2, False), (8, 2, True), (2, 8, True), (1, 13, False)]
)
def test_a_rater_is_named_where_chance_does_not_explain_the_disagreement(prompts, pictures, is_named):
    """One of six raters has the scale the other way round: 6 / 2^6 is above 0.05, and 6 / 2^8 is 0.023.

    Two prompts of eight pictures have eight pairs without a common picture, one of 13 pictures has six.
    """
    prompt, picture = (axis.ravel() for axis in np.meshgrid(range(prompts), range(pictures), indexing="ij"))
    of_rater = [
        pd.DataFrame({"rater": name, "prompt": prompt, "image": picture, "rating": picture}) for name in "abcde"
    ]
    turned = of_rater[0].assign(rater="eve", rating=-picture)
    table = pd.concat([*of_rater, turned], ignore_index=True)
    judgements = from_ratings(table, prompt="prompt", image="image", rating="rating", rater="rater")
    pairs = prompts * pictures * (pictures - 1) // 2
    sentences = list(disagreements(judgements).values())
    assert [sentence.split(":")[0] for sentence in sentences] == [
        f"rater eve agrees with most of the other raters in 0 of {pairs} pairs (0%), and in 0 of 8 without a common "
        "picture (binomial test"
    ] * is_named
    assert all("p = 0.023, corrected for 6 raters" in sentence for sentence in sentences)
