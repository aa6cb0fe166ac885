"""Weights from any judgement: against an independent fit of TIFA160, and against weights that made the judgements."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from fergi_reward.calibration.judged_weights import fit_judged_weights
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.judgements import from_ratings

PREFERENCES = Path(__file__).parents[3] / "shared" / "preferences"


@pytest.fixture(scope="module")
def tifa():
    path = PREFERENCES / "tifa160_annotations_with_scores.json"
    if not path.is_file():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"no judgements of others in {path}")
    table = pd.DataFrame(list(json.loads(path.read_text()).values()))
    return from_ratings(table, prompt="text_id", image="image_path", rating="human_avg")


def drawn(weights, *, prompts=300, images=4, raters=0, seed=0):
    """Ratings of a Bradley-Terry model: the total of each image and Gumbel noise, per rater where there are some."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(prompts * images, len(weights))), columns=list("abc")[: len(weights)])
    table["prompt"] = np.repeat(np.arange(prompts), images)
    table["image"] = np.arange(len(table))
    seen = [table.assign(rater=f"r{rater}") for rater in range(raters)] or [table]
    rated = pd.concat(seen, ignore_index=True)
    noise = rng.gumbel(size=len(rated))
    return rated.assign(rating=rated[list("abc")[: len(weights)]].to_numpy() @ weights + noise)


def judged(table, **columns):
    return from_ratings(table, prompt="prompt", image="image", rating="rating", **columns)


# ../shared/preferences/README.md has an independent fit, one prompt left out at a time: pairs in the right order.
@pytest.mark.parametrize(
    ("scorers", "right", "ties", "log_loss"),
    [
        (["clipscore_vitb32"], 720, 0, 0.577),
        (["tifa_mplug-large"], 513, 385, 0.577),
        (["meteor"], 615, 100, 0.626),
        (["clipscore_vitb32", "tifa_mplug-large"], 758, 0, 0.525),
        (["clipscore_vitb32", "tifa_mplug-large", "meteor"], 777, 0, 0.503),
    ],
)
def test_tifa160_gives_what_an_independent_fit_gives(tifa, scorers, right, ties, log_loss):
    found = fit_judged_weights(tifa, scorers)
    result = found.results["+".join(scorers)]
    assert (result.pairs, result.ties, tifa.ties) == (1036, ties, 564)
    assert abs(result.correct - right) <= 2
    assert result.log_loss == pytest.approx(log_loss, abs=0.0021)
    assert found.calibration.dataset["unit"] == "prompt"


def test_weights_that_made_the_ratings_come_back_and_a_scorer_that_says_nothing_is_known():
    found = fit_judged_weights(judged(drawn([1.0, 0.5, 0.0], prompts=800)), ["a", "b", "c"])
    a, b, c = found.weights
    # The standard error of a weight on 4,800 pairs is about 0.04.
    assert [a.weight, b.weight, c.weight] == pytest.approx([1.0, 0.5, 0.0], abs=0.12)
    assert [a.says_nothing, b.says_nothing, c.says_nothing] == [False, False, True]
    assert a.ci95[0] < a.weight < a.ci95[1]


def test_many_pairs_are_fitted_by_one_step_to_what_full_fits_give(monkeypatch):
    table = judged(drawn([1.0, 0.5], prompts=400))
    whole = fit_judged_weights(table, ["a", "b"])
    monkeypatch.setattr("fergi_reward.calibration.judged_weights.MANY", 100)
    quick = fit_judged_weights(table, ["a", "b"])
    assert quick.results["a+b"].correct == pytest.approx(whole.results["a+b"].correct, abs=2)
    assert quick.results["a+b"].log_loss == pytest.approx(whole.results["a+b"].log_loss, abs=1e-4)
    for one, other in zip(quick.weights, whole.weights, strict=True):
        assert [one.weight, *one.ci95] == pytest.approx([other.weight, *other.ci95], abs=0.01)


def test_the_fit_is_the_minimum_that_scipy_finds():
    table = judged(drawn([1.0, 0.5], prompts=50))
    fit = fit_judged_weights(table, ["a", "b"]).calibration.fit_for(["a", "b"])
    scores = table.scores(["a", "b"]) / [term.std for term in fit.terms]
    differences = scores[table.pairs["better"]] - scores[table.pairs["worse"]]
    found = [
        minimize(lambda w, p=p: np.logaddexp(0, -(differences @ w)).mean() + p * w @ w / 2, [0, 0], tol=1e-12).x
        for p in (1e-2, 1e-3, 1e-4)
    ]
    weights = np.array([term.weight for term in fit.terms])
    assert min(np.abs(weights - each).max() for each in found) < 1e-4


def test_a_group_that_is_left_out_does_not_move_its_own_margins():
    """Turning the ratings of one prompt round turns its margins round, and nothing more."""
    table = drawn([1.0, 0.5], prompts=30)
    turned = table.assign(rating=np.where(table["prompt"] == 3, -table["rating"], table["rating"]))
    before, after = (fit_judged_weights(judged(each), ["a", "b"]).results["a+b"] for each in (table, turned))
    mine, theirs = before.per_participant["3"], after.per_participant["3"]
    assert mine["pairs"] == theirs["pairs"] == 6
    assert mine["correct"] + theirs["correct"] == 6


def test_raters_are_left_out_where_there_are_several_and_prompts_where_not():
    assert judged(drawn([1.0], prompts=5, raters=3), rater="rater").unit == "rater"
    assert judged(drawn([1.0], prompts=5, raters=2), rater="rater").unit == "prompt"
    assert judged(drawn([1.0], prompts=5)).unit == "prompt"


def test_a_rank_of_one_is_the_best_where_low_is_good():
    table = drawn([1.0], prompts=40)
    ranks = table.assign(rating=table.groupby("prompt")["rating"].rank(ascending=False))
    low = from_ratings(ranks, prompt="prompt", image="image", rating="rating", higher_is_better=False)
    pd.testing.assert_frame_equal(low.pairs, judged(table).pairs)


def test_equal_ratings_are_ties_which_are_counted_and_not_fitted():
    table = pd.DataFrame({"prompt": "p", "image": ["x", "y", "z"], "rating": [1, 1, 2], "a": [0.0, 1.0, 2.0]})
    found = judged(table)
    assert found.ties == 1
    assert found.pairs[~found.pairs["tied"]][["better", "worse"]].to_numpy().tolist() == [[2, 0], [2, 1]]


def test_separable_pairs_have_finite_weights():
    table = drawn([1.0], prompts=20)
    found = fit_judged_weights(judged(table.assign(rating=table["a"])), ["a"])
    assert found.results["a"].accuracy == 1
    assert 1 < found.weights[0].weight < 100


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"a": 1.0}, "a has the same value for every image"),
        ({"a": [np.nan, *range(1, 40)]}, "a is nan for image 0 (and 0 others), must be a number"),
        ({"a": ["good", *range(1, 40)]}, "a is 'good' for image 0"),
        ({"rating": 3}, "of 60 pairs people preferred a picture in none"),
        ({"rating": ["bad", *range(1, 40)]}, "rating of image 0 is 'bad', must be a finite number"),
        ({"prompt": [None, *range(1, 40)]}, "row 0 has no prompt"),
        ({"image": ["x", " ", *range(2, 40)]}, "row 1 has no image"),
        ({"image": 0}, "is rated twice; if several people rated it, name their column as rater"),
        ({"prompt": [0] * 20 + [1] * 20}, "the pairs are of 2 prompts"),
    ],
)
def test_what_cannot_be_fitted_is_said_in_one_sentence(change, says):
    with pytest.raises(FergiRewardError) as caught:
        fit_judged_weights(judged(drawn([1.0], prompts=10).assign(**change)), ["a"])
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_keep_their_scores_whatever_the_table_is_indexed_by():
    table = drawn([1.0], prompts=20)
    shuffled = table.set_index(np.random.default_rng(0).permutation(len(table)))
    assert judged(shuffled).pictures["a"].tolist() == table["a"].tolist()


def test_a_score_that_differs_between_raters_is_refused_and_a_remark_is_not():
    table = drawn([1.0], prompts=5, raters=3)
    seen = table.assign(b=table["a"] + (table["rater"] == "r1"), remark=table["rater"])
    found = judged(seen, rater="rater")
    assert found.varying == {"b", "rater", "remark", "rating"}
    fit_judged_weights(found, ["a"])
    with pytest.raises(FergiRewardError, match="b differs between rows of one image"):
        fit_judged_weights(found, ["a", "b"])


def test_rows_without_a_rating_are_counted():
    table = drawn([1.0], prompts=10)
    table.loc[3, "rating"] = np.nan
    assert (judged(table).unrated, len(judged(table).pairs)) == (1, 57)
