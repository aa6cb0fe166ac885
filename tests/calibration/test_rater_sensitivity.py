"""A sensitivity per rater: used where raters who were left out prove it, and else without any effect."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fergi_reward import fit_weights
from fergi_reward.calibration.judged_model import Model
from fergi_reward.calibration.judged_pairs import JudgedPairs
from fergi_reward.calibration.judged_weights import fit_judged_weights
from fergi_reward.calibration.rater_sensitivity import SensitiveFits
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.judgement_files.read import FoundJudgements
from fergi_reward.data.judgements import Judgements
from fergi_reward.evaluation.judged_report import judged_report
from fergi_reward.stats.nested import NestedFits

NAMES = list("abcdef")


def drawn(*, careful, careless=0, pairs=20, weights=(0.9, 0.6, 0.2, -0.2, -0.6, -0.9), seed=0):
    """Pairs of raters who follow the scores, and of those who answer at random."""
    rng, raters = np.random.default_rng(seed), careful + careless
    rater = np.arange(raters * pairs) // pairs
    scores = rng.normal(size=(2 * len(rater), len(weights)))
    first, second = np.arange(0, len(scores), 2), np.arange(1, len(scores), 2)
    margins = (rater < careful) * ((scores[first] - scores[second]) @ np.array(weights))
    likes_first = margins > rng.logistic(size=len(rater))
    pictures = pd.DataFrame(scores, columns=NAMES[: len(weights)]).assign(prompt=0, image=np.arange(len(scores)))
    sides = {"better": np.where(likes_first, first, second), "worse": np.where(likes_first, second, first)}
    group = [f"r{number:03d}" for number in rater]
    return Judgements(pictures, pd.DataFrame({**sides, "tied": False, "weight": 1.0, "group": group}), "rater")


def fitted(judgements, **options):
    scorers = [name for name in NAMES if name in judgements.pictures]
    return fit_judged_weights(judgements, scorers, rater_sensitivity=True, **options)


@pytest.fixture(scope="module")
def different():
    """Half of them answer at random."""
    judgements = drawn(careful=50, careless=50, pairs=8, weights=(4.0, -3.0))
    return judgements, fitted(judgements)


def test_it_is_used_where_raters_differ_and_those_left_out_prove_it(different):
    judgements, found = different
    sensitivity, plain = found.sensitivity, fit_judged_weights(judgements, NAMES[:2])
    assert sensitivity.used and sensitivity.ci95[0] > 0 and sensitivity.spread > 1
    assert found.results["a+b"].log_loss == pytest.approx(plain.results["a+b"].log_loss - sensitivity.total_gain)
    careless, careful = (
        np.median([value for name, value in sensitivity.of_raters.items() if (name < "r050") == is_careful])
        for is_careful in (False, True)
    )
    assert careless < careful / 4
    # The total is on the scale of the plain one, so that its sigmoid is still the probability of a preference.
    for one, other in zip(found.weights, plain.weights, strict=True):
        assert one.weight == pytest.approx(other.weight, rel=0.15)
        assert one.ci95[0] < one.weight < one.ci95[1]


def test_it_is_off_where_raters_are_alike_and_then_changes_no_digit():
    judgements = drawn(careful=25, weights=(1.0, -0.5))
    found, plain = fitted(judgements), fit_judged_weights(judgements, NAMES[:2])
    assert not found.sensitivity.used and found.sensitivity.spread < 0.2
    assert replace(found, sensitivity=None) == plain


def test_what_raters_left_out_said_does_not_enter_what_is_said_of_them():
    judgements = drawn(careful=8, careless=4, pairs=10, weights=(1.0, -0.5))
    turned = judgements.pairs.assign(better=judgements.pairs["worse"], worse=judgements.pairs["better"])
    mine = judgements.pairs["group"] == "r003"
    other = replace(judgements, pairs=judgements.pairs.where(~mine, turned).astype(judgements.pairs.dtypes))
    margins = []
    for each in (judgements, other):
        pairs = JudgedPairs.of(each, each.scores(["a", "b"]), 0, with_ties=False)
        folds = NestedFits.of(pairs.units, 0)
        model = Model(pairs, {"a": 0, "b": 1}, folds, nonnegative=False, davidson=False)
        rows = pairs.group == pairs.names.index("r003")
        margins.append(np.sort(SensitiveFits(model).margins_of_anybody()[rows]))
    np.testing.assert_allclose(margins[0], -margins[1][::-1], atol=1e-3)


def test_the_order_and_the_names_of_raters_change_no_digit():
    judgements = drawn(careful=6, careless=3, pairs=8, weights=(1.0, -0.5))
    pairs = judgements.pairs.sample(frac=1, random_state=0).reset_index(drop=True)
    other = replace(judgements, pairs=pairs.assign(group="x" + pairs["group"].str[::-1]))
    one, two = (fitted(each).sensitivity for each in (judgements, other))
    assert replace(one, of_raters={}) == replace(two, of_raters={})
    assert {"x" + name[::-1]: number for name, number in one.of_raters.items()} == two.of_raters


def test_intervals_to_first_order_are_near_those_of_the_plain_bootstrap():
    judgements = drawn(careful=30, weights=(1.0, -0.5), pairs=15)
    pairs = JudgedPairs.of(judgements, judgements.scores(["a", "b"]), 0, with_ties=False)
    model = Model(pairs, {"a": 0, "b": 1}, NestedFits.of(pairs.units, 0), nonnegative=False, davidson=False)
    counts = np.random.default_rng(0).multinomial(30, np.full(30, 1 / 30), size=200).astype(float)
    one, other = (np.std(fits.resampled(counts), axis=0) for fits in (model, SensitiveFits(model)))
    np.testing.assert_allclose(one, other, rtol=0.4)


@pytest.mark.parametrize(
    "judgements",
    [
        drawn(careful=4, weights=(1.0, -0.5)),
        drawn(careful=60, pairs=1, weights=(1.0, -0.5)),
        drawn(careful=30, pairs=3, weights=(40.0, -20.0)),
    ],
    ids=["few raters", "one pair each", "nearly separable"],
)
def test_what_tells_nothing_of_raters_leaves_it_off(judgements):
    found = fitted(judgements).sensitivity
    assert not found.used and np.isfinite([found.gain, *found.ci95, *found.total_ci95]).all()


def test_weights_stay_at_0_or_above(different):
    found = fitted(drawn(careful=10, careless=12, pairs=10, weights=(1.0, -0.5)), nonnegative=True)
    assert all(each.weight >= 0 and each.ci95[0] >= 0 for each in found.weights)


@pytest.mark.parametrize(
    ("change", "options", "says"),
    [
        ({}, {"ties": "davidson"}, "pairs without ties"),
        ({"unit": "prompt"}, {}, "needs 3 or more who are left out in turn, and here each prompt is"),
        ({"unit": "group"}, {}, "here each group is"),
    ],
)
def test_what_has_no_raters_is_refused_in_one_sentence(change, options, says):
    with pytest.raises(FergiRewardError, match=says):
        fitted(replace(drawn(careful=5, weights=(1.0,)), **change), **options)


def test_too_many_pairs_are_refused(monkeypatch):
    monkeypatch.setattr("fergi_reward.calibration.rater_sensitivity.MOST_PAIRS", 99)
    with pytest.raises(FergiRewardError, match="at most 99 pairs, there are 100: give a sample of the raters"):
        fitted(drawn(careful=5, weights=(1.0,)))


def test_the_report_says_whether_it_is_used_and_names_no_rater(different):
    judgements, found = different
    report = judged_report(FoundJudgements(judgements, "pairs", {}, {}), found)
    assert "The weights are those of raters who differ: what a sensitivity per rater gains" in report.verdict[2]
    record = report.record()["rater_sensitivity"]
    assert record["used"] and record["of_raters"] == {} and record["gain"] == found.sensitivity.gain
    few = fitted(drawn(careful=4, weights=(1.0,)))
    report = judged_report(FoundJudgements(judgements, "pairs", {}, {}), few)
    assert "take all raters as alike" in report.verdict[2] and "with at least 20 raters" in report.verdict[2]


def test_arrays_take_it_as_well():
    judgements = drawn(careful=5, weights=(1.0, -0.5))
    pairs = judgements.pairs.rename(columns={"better": "winner", "worse": "loser", "group": "rater"})
    scores = judgements.pictures[["a", "b"]]
    assert fit_weights(scores, pairs, rater_sensitivity=True).fits == fit_weights(scores, pairs).fits
