"""Weights from arrays: the same as from tables that are read, and mistakes in one sentence."""

import numpy as np
import pandas as pd
import pytest

from fergi_reward import FergiRewardError, fit_weights


def drawn(seed=0):
    """Scores of 240 pictures, four per prompt, by two scorers, and ratings that follow the first one."""
    rng = np.random.default_rng(seed)
    scores = pd.DataFrame(rng.normal(size=(240, 2)), columns=["a", "b"])
    ratings = {
        "image": np.arange(240),
        "prompt": np.arange(240) // 4,
        "rating": scores["a"].to_numpy() + rng.gumbel(size=240),
    }
    return scores, ratings


def as_pairs(ratings):
    """Every pair of pictures of a prompt, the better one as the winner."""
    rating = np.asarray(ratings["rating"])
    sides = [(one, other) for one in range(240) for other in range(240) if one // 4 == other // 4]
    better = np.array([(one, other) for one, other in sides if rating[one] > rating[other]])
    return {"winner": better[:, 0], "loser": better[:, 1], "prompt": better[:, 0] // 4}


def test_arrays_frames_ratings_and_pairs_give_the_same_weights():
    scores, ratings = drawn()
    given = [
        fit_weights(scores, ratings),
        fit_weights(scores.to_numpy(), pd.DataFrame(ratings, index=range(5, 245)), names=["a", "b"]),
        fit_weights({"a": scores["a"].to_numpy(), "b": scores["b"].tolist()}, as_pairs(ratings)),
        fit_weights(scores, ratings | {"rating": -ratings["rating"]}, higher_is_better=False),
    ]
    assert given[0].scorers == ("a", "b") and given[0].dataset["unit"] == "prompt"
    assert all(each.fits == given[0].fits for each in given[1:])
    assert given[0].fit_for(["a", "b"]).terms[0].weight == pytest.approx(1, abs=0.3)


def test_raters_are_left_out_where_there_are_three():
    scores, ratings = drawn()
    pairs = as_pairs(ratings)
    found = fit_weights(scores, pairs | {"rater": pairs["winner"] % 5})
    assert (found.dataset["unit"], found.dataset["raters"]) == ("rater", 5)
    assert fit_weights(scores, pairs | {"rater": pairs["winner"] % 2}).dataset["unit"] == "prompt"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"winner": 240}, "winner is 240 in row 0 of judgements, must be a row of scores, 0 to 239"),
        ({"winner": -1}, "winner is -1 in row 0"),
        ({"loser": 0.5}, "loser is 0.5 in row 0"),
        ({"loser": "a.png"}, "loser is 'a.png' in row 0"),
        ({"loser": 0, "winner": 0}, "winner and loser are the same picture in row 0"),
        ({"weight": 0}, "weight is 0.0 in row 0, must be above 0"),
        ({"weight": np.nan}, "weight is nan in row 0, must be above 0"),
        ({"tied": "maybe"}, "tied is 'maybe', must be true or false"),
        ({"prompt": None}, "pairs need the column rater"),
    ],
)
def test_a_pair_that_cannot_be_used_is_said_in_one_sentence(change, says):
    scores, ratings = drawn()
    pairs = pd.DataFrame(as_pairs(ratings))
    with pytest.raises(FergiRewardError) as caught:
        fit_weights(scores, pairs.assign(**change))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("scores", "judgements", "says"),
    [
        (np.zeros((3, 2)), {}, r"scores has the shape \(3, 2\) and none names"),
        (np.zeros(3), {}, r"scores has the shape \(3,\)"),
        ({"a": [1.0], "b": [1.0, 2.0]}, {}, "the columns of scores have the shapes"),
        ({"a": [1.0, 2.0]}, {"winner": [0, 1]}, "judgements has the columns winner: give winner and loser"),
        ({"prompt": [1.0, 2.0]}, {}, "a scorer cannot be called 'prompt'"),
        (pd.DataFrame([[1.0, 2.0]], columns=["a", "a"]), {}, "scores has the column a twice"),
    ],
)
def test_tables_that_cannot_be_used_are_named(scores, judgements, says):
    with pytest.raises(FergiRewardError, match=says):
        fit_weights(scores, pd.DataFrame(judgements))


def test_another_word_for_ties_is_refused_and_not_taken_for_leaving_them_out():
    scores, ratings = drawn()
    with pytest.raises(FergiRewardError, match="ties is 'rao', must be one of leave_out, davidson"):
        fit_weights(scores, ratings, ties="rao")
