"""Weights from any judgement: against an independent fit of TIFA160, and against weights that made the judgements."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from fergi_reward.calibration.calibration import Calibration
from fergi_reward.calibration.judged_weights import fit_judged_weights
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.fergi import read_fergi
from fergi_reward.data.judgements import Judgements, from_ratings
from fergi_reward.faces.recorded import Recorded
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.foreign import as_scorer

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
    found = fit_judged_weights(judged(drawn([1.0, 0.5, 0.0], prompts=400)), ["a", "b", "c"])
    a, b, c = found.weights
    # The standard error of a weight on 2,400 pairs is about 0.05.
    assert [a.weight, b.weight, c.weight] == pytest.approx([1.0, 0.5, 0.0], abs=0.15)
    assert not found.separable
    assert [a.says_nothing, b.says_nothing, c.says_nothing] == [False, False, True]
    assert a.ci95[0] < a.weight < a.ci95[1]


def test_many_pairs_are_fitted_by_one_step_to_what_full_fits_give(monkeypatch):
    table = judged(drawn([1.0, 0.5], prompts=400))
    whole = fit_judged_weights(table, ["a", "b"])
    monkeypatch.setattr("fergi_reward.calibration.judged_model.MANY", 100)
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
    assert found.separable


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"a": 1.0}, "a has the same value for every image"),
        ({"a": [np.nan, *range(1, 40)]}, "a is nan for image 0 (1 such row), must be a number"),
        ({"a": ["good", *range(1, 40)]}, "a is 'good' for image 0"),
        ({"rating": 3}, "of 60 pairs people preferred a picture in none"),
        ({"rating": ["bad", *range(1, 40)]}, "rating of image 0 is 'bad', must be a finite number"),
        ({"prompt": [None, *range(1, 40)]}, "row 1 has no prompt"),
        ({"image": ["x", " ", *range(2, 40)]}, "row 2 has no image"),
        ({"image": 0}, "if several people rated it, name their column as rater"),
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
    assert found.varying.keys() == {"b", "rater", "remark", "rating"}
    fit_judged_weights(found, ["a"])
    with pytest.raises(
        FergiRewardError, match=r"b differs between rows of one image \(\S+ has -?\d\S+ and -?\d\S+\): give"
    ):
        fit_judged_weights(found, ["a", "b"])
    blank = seen.assign(b=table["a"].where(table.index != 7))
    with pytest.raises(
        FergiRewardError, match=rf"\({table['image'][7]} has (nothing and -?\d\S+|-?\d\S+ and nothing)\): give"
    ):
        fit_judged_weights(judged(blank, rater="rater"), ["a", "b"])


def test_rows_without_a_rating_are_counted():
    table = drawn([1.0], prompts=10)
    table.loc[3, "rating"] = np.nan
    assert (judged(table).unrated, len(judged(table).pairs)) == (1, 57)


def test_ties_of_a_score_are_reported_both_ways(tifa):
    # 513 right and 385 tied of 1,036: 49.5 %, or 68.1 % with half credit.
    result = fit_judged_weights(tifa, ["tifa_mplug-large"]).results["tifa_mplug-large"]
    assert (f"{result.accuracy:.1%}", f"{result.half_credit:.1%}") == ("49.5%", "68.1%")


def test_ties_of_people_are_used_by_davidsons_model():
    rng, a, b = np.random.default_rng(0), np.arange(0, 4000, 2), np.arange(1, 4000, 2)
    scores = rng.normal(size=4000)
    odds = np.exp(np.stack([scores[a], scores[b], (scores[a] + scores[b]) / 2 + np.log(0.8)]))
    outcome = (rng.random(2000) > (odds / odds.sum(axis=0)).cumsum(axis=0)).sum(axis=0)
    pictures = pd.DataFrame({"prompt": np.arange(4000) // 100, "image": np.arange(4000), "a": scores})
    better, worse = np.where(outcome == 1, b, a), np.where(outcome == 1, a, b)
    pairs = pd.DataFrame({"better": better, "worse": worse, "tied": outcome == 2, "weight": 1.0, "group": a // 100})
    judged = Judgements(pictures, pairs.astype({"group": str}), "prompt")
    two, three = (fit_judged_weights(judged, ["a"], ties=ties) for ties in ("leave_out", "davidson"))
    assert three.tie_fit.nu == pytest.approx(0.8, abs=0.1)
    for found in (two, three):
        assert found.weights[0].weight / scores.std() == pytest.approx(1, abs=0.15)
    # The pairs judged, and so accuracy and log-loss over two outcomes, are the same ones; over three it is larger.
    assert two.results["a"].pairs == three.results["a"].pairs == (outcome != 2).sum()
    assert two.results["a"].log_loss == pytest.approx(three.results["a"].log_loss, abs=0.002)
    assert three.results["a"].log_loss < three.tie_fit.log_losses["a"] < three.tie_fit.by_chance
    assert (two.calibration.protocol, three.calibration.protocol) == ("bradley-terry", "davidson")


def test_weights_can_be_kept_at_0_or_above_in_every_fit():
    table = judged(drawn([1.0, -0.3, 0.0], prompts=60))
    free, kept = (fit_judged_weights(table, ["a", "b", "c"], nonnegative=value) for value in (False, True))
    assert free.weights[1].weight < 0
    assert kept.weights[1].weight == 0 and kept.weights[1].says_nothing
    assert all(term.weight >= 0 for fit in kept.calibration.fits for term in fit.terms)
    assert all(weight.ci95[0] >= 0 for weight in kept.weights)


def what_is_found(table, **options):
    found = fit_judged_weights(table, ["a", "b"], **options)
    counted = [(each.correct, each.pairs, each.accuracy, each.ci95, each.log_loss) for each in found.results.values()]
    return found.weights, found.calibration.fits, counted, found.tie_fit


@given(seed=st.integers(0, 2**32 - 1), ties=st.sampled_from(["leave_out", "davidson"]))
@settings(max_examples=10, deadline=None)
def test_the_order_of_rows_and_the_names_of_raters_and_images_change_no_digit(seed, ties):
    table = drawn([1.0, 0.5], prompts=6, images=3, raters=4).round({"rating": 0, "a": 1})
    rng = np.random.default_rng(seed)
    names = {name: f"{rng.integers(1000)}{name}" for name in table["rater"].unique()}
    other = table.sample(frac=1, random_state=seed % 2**31)
    first = judged(table, rater="rater")
    assert judged(other, rater="rater").fingerprint() == first.fingerprint()
    other = other.assign(rater=other["rater"].map(names), image=rng.integers(1 << 40) - other["image"])
    assert what_is_found(judged(other, rater="rater"), ties=ties) == what_is_found(first, ties=ties)


def test_the_sides_of_a_tied_pair_change_no_digit():
    table = judged(drawn([1.0, 0.5], prompts=10).round({"rating": 0}))
    tied = table.pairs["tied"]
    sides = {"better": table.pairs["better"].where(~tied, table.pairs["worse"])}
    turned = replace(
        table, pairs=table.pairs.assign(**sides, worse=table.pairs["worse"].where(~tied, table.pairs["better"]))
    )
    assert turned.fingerprint() == table.fingerprint() and tied.any()
    assert (turned.pair_hashes() == table.pair_hashes()).all()
    assert what_is_found(turned, ties="davidson") == what_is_found(table, ties="davidson")


@pytest.mark.parametrize("ties", ["leave_out", "davidson"])
def test_a_pair_that_counts_twice_is_two_pairs(ties):
    table = judged(drawn([1.0, 0.5], prompts=20).round({"rating": 0}))
    often = 1 + np.arange(len(table.pairs)) % 3
    counted = replace(table, pairs=table.pairs.assign(weight=often.astype(float)))
    repeated = replace(table, pairs=table.pairs.loc[table.pairs.index.repeat(often)])
    assert what_is_found(counted, ties=ties) == what_is_found(repeated, ties=ties)


def test_weights_between_whole_numbers_are_shares_of_a_judgement():
    table = judged(drawn([1.0, 0.5], prompts=20))
    small = replace(table, pairs=table.pairs.assign(weight=0.001))
    one, two = (fit_judged_weights(each, ["a", "b"]) for each in (table, small))
    assert [each.weight for each in one.weights] == pytest.approx([each.weight for each in two.weights], rel=0.02)


def test_scorers_that_say_the_same_are_known_and_share_the_weight():
    table = drawn([1.0, 0.0], prompts=60)
    found = fit_judged_weights(judged(table.assign(b=2 * table["a"] + 1, c=table["b"])), ["a", "b", "c"])
    assert [each.is_redundant for each in found.weights] == [True, True, False]
    assert found.weights[0].weight == pytest.approx(found.weights[1].weight, rel=1e-6)


def test_a_reaction_is_one_more_term_which_a_reward_reads():
    table = drawn([1.0], prompts=8, images=4, raters=6)
    frowns = np.random.default_rng(1).exponential(size=len(table))
    seen = table.assign(au4=frowns, rating=table["rating"] - 2 * frowns)
    views = {"rater": "rater", "reactions": ["au4"], "au_source": "fergi-ir50"}
    views = judged(seen, **views)
    assert len(views.pictures) == 8 * 4 * 6 and views.scores(["au4"])[:, 0].tolist() == frowns.tolist()
    found = fit_judged_weights(views, ["a"])
    assert list(found.results) == ["a", "au4", "a+au4"] and found.units == 6
    assert found.results["a+au4"].log_loss < found.results["a"].log_loss
    face = Recorded({"x": {"au4": 2.0}, "y": {"au4": 0.0}, "z": {}}, source="fergi-ir50")
    scorer = as_scorer(lambda pixels, prompts: pixels.mean(dim=(1, 2, 3)), "a")
    reward = CombinedReward([scorer], found.calibration, face=face)
    totals = reward.combine({"a": torch.zeros(3)}, ["p"] * 3, ["x", "y", "z"]).total
    assert totals[0] < totals[1] and torch.isfinite(totals[2])
    assert found.calibration.used("r1", "fergi-ir50")
    with pytest.raises(FergiRewardError, match="b differs between rows of one image"):
        fit_judged_weights(judged(seen.assign(b=frowns), rater="rater", reactions=["au4"], au_source="x"), ["a", "b"])


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"rater": "rater", "reactions": ["au4"]}, "give the au_source"),
        ({"reactions": ["au4"], "au_source": "fergi-ir50"}, "name the rater's column"),
        ({"rater": "rater", "reactions": ["smile"], "au_source": "fergi-ir50"}, "reactions are action units"),
        ({"rater": "rater", "reactions": ["au12"], "au_source": "fergi-ir50"}, "there is no column au12"),
        ({"rater": "rater", "reactions": ["au4"], "au_source": "fergi-ir50"}, "an activation must be at least 0"),
    ],
)
def test_a_reaction_that_cannot_be_used_is_said_in_one_sentence(columns, says):
    table = drawn([1.0], prompts=5, raters=3)
    with pytest.raises(FergiRewardError, match=says):
        fit_judged_weights(judged(table.assign(au4=np.arange(len(table)) - 3.0), **columns), ["a"])


def test_an_action_unit_is_no_score():
    with pytest.raises(FergiRewardError, match="name it as a reaction"):
        fit_judged_weights(judged(drawn([1.0], prompts=5)), ["a", "au4"])


@pytest.mark.fergi
def test_fergis_ranks_as_a_plain_table_give_the_weights_of_its_protocol(fergi):
    images = read_fergi(fergi).with_reactions(["au4"]).images
    names = images[["user", "session", "image"]].astype(str)
    table = images[["rank", "pickscore", "au4"]].assign(
        rater=names["user"], prompt=names["user"] + "/" + names["session"], image=names.agg("/".join, axis=1)
    )
    views = {"prompt": "prompt", "image": "image", "rating": "rank", "rater": "rater", "reactions": ["au4"]}
    judgements = from_ratings(table, **views, au_source="fergi-ir50")
    found = fit_judged_weights(judgements, ["pickscore"]).calibration.fit_for(["pickscore", "au4"])
    shipped = Calibration.shipped().fit_for(["pickscore", "au4"])
    # The same pairs and loss. FERGI's protocol takes the largest penalty within one standard error, which shrinks more.
    for one, two in zip(found.terms, shipped.terms, strict=True):
        assert one.weight == pytest.approx(two.weight, rel=0.1)
    assert found.log_loss == pytest.approx(shipped.log_loss, abs=0.002)


def test_a_fingerprint_knows_each_cell_of_a_table() -> None:
    table = pd.DataFrame(
        {"prompt": ["a", "a", "b", "b"], "image": list("wxyz"), "rating": [1, 2, 2, 1], "clip": [0.1, 0.2, 0.3, 0.4]}
    )

    def fingerprint(of: pd.DataFrame) -> str:
        return from_ratings(of, prompt="prompt", image="image", rating="rating").fingerprint()

    assert fingerprint(table.sample(frac=1, random_state=0)) == fingerprint(table)
    changed = [("prompt", ["a", "a", "c", "c"]), ("image", list("vxyz")), ("clip", [0.1, 0.2, 0.3, 0.5])]
    changed += [("rating", [2, 1, 2, 1]), ("rating", [2, 2, 2, 1])]
    others = {fingerprint(table.assign(**{name: values})) for name, values in changed}
    assert len(others | {fingerprint(table)}) == 6
