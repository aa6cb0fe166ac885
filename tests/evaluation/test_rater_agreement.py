"""Raters who disagree with the others, counted by hand."""

import pandas as pd

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
    assert len(list(disagreements(judgements))) == 4
    three_alike = table.assign(rating=table["rating"].where(table["rater"] != "cem", [*[0] * 6, 1, 2, 3, *[0] * 3]))
    judgements = from_ratings(three_alike, prompt="prompt", image="image", rating="rating", rater="rater")
    (sentence,) = disagreements(judgements)
    assert sentence.startswith("rater eve agrees with most of the other raters in 0 of 3 pairs (0%)")
