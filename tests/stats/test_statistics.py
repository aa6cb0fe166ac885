"""The statistics against closed forms, numbers worked by hand, and scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, kendalltau

from fergi_reward.stats.agreement import margin_correlation, same_order
from fergi_reward.stats.coverage import coverage
from fergi_reward.stats.intervals import bootstrap_interval
from fergi_reward.stats.mcnemar import mcnemar, only_one_right
from fergi_reward.stats.reliability import Reliability, ReliabilityBin, reliability

counts = st.integers(min_value=0, max_value=400)


@given(counts, counts)
def test_mcnemar_is_the_binomial_test_with_the_observed_count_halved(first, second):
    p_value = mcnemar(first, second)
    assert p_value == mcnemar(second, first)
    if first == second:
        assert p_value == pytest.approx(1.0)
    else:
        exact = binomtest(first, first + second, 0.5)
        observed = binomtest(first, first + second, 0.5, alternative="less").pvalue
        observed -= binomtest(first - 1, first + second, 0.5, alternative="less").pvalue if first else 0
        assert p_value == pytest.approx(exact.pvalue - observed, abs=1e-12)


def test_mcnemar_rejects_five_percent_of_equal_models():
    rng = np.random.default_rng(0)
    rejected = [mcnemar(int(first), 60 - int(first)) < 0.05 for first in rng.binomial(60, 0.5, size=4000)]
    assert 0.03 < np.mean(rejected) < 0.06


def test_only_one_right_by_hand():
    first, second = np.array([True, True, False, True]), np.array([True, False, True, False])
    assert only_one_right(first, second) == (2, 1)


def test_the_interval_of_a_difference_uses_that_models_err_alike():
    rng = np.random.default_rng(0)
    users = np.repeat([f"{user}" for user in range(100)], 30)
    hard = np.repeat(rng.random(100), 30)  # some people are hard for both models
    first, second = (rng.random(3000) < hard for _ in range(2))
    low, high = bootstrap_interval(first.astype(float) - second, users, seed=0)
    gains = (first.astype(float) - second).reshape(100, 30).mean(axis=1)
    assert high - low == pytest.approx(2 * 1.96 * gains.std() / 10, rel=0.1)
    alone = bootstrap_interval(first, users, seed=0)
    assert high - low < 0.6 * (alone[1] - alone[0])


def test_an_interval_is_that_of_all_draws_at_once_however_few_are_held(monkeypatch):
    rng = np.random.default_rng(3)
    values, users = rng.normal(size=700), rng.integers(33, size=700).astype(str)
    _, index = np.unique(users, return_inverse=True)
    sums, counts = np.bincount(index, values), np.bincount(index)
    drawn = np.random.default_rng(5).integers(33, size=(2000, 33))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    for block in (1, 33 * 7, 1 << 30):
        monkeypatch.setattr("fergi_reward.stats.intervals.BLOCK", block)
        assert bootstrap_interval(values, users, seed=5) == tuple(np.quantile(means, [0.025, 0.975]))


def test_coverage_and_its_area():
    margins = np.array([4.0, 3.0, -2.0, 1.0])
    curve = coverage(margins)
    assert curve.shares == (0.25, 0.5, 0.75, 1.0)
    assert curve.accuracies == pytest.approx((1, 1, 2 / 3, 3 / 4))
    assert curve.area == pytest.approx((1 + 1 + 2 / 3 + 3 / 4) / 4)


def test_a_long_curve_is_thinned_and_ends_with_all_pairs():
    margins = np.random.default_rng(0).normal(0.3, 1, size=777)
    curve = coverage(margins)
    assert len(curve.shares) == 100 and curve.shares[-1] == 1.0
    assert curve.accuracies[-1] == (margins > 0).mean()
    # A margin with this density is right with the probability sigmoid(0.6 |margin|): the surest are right most often.
    assert curve.area > (margins > 0).mean() + 0.05


def test_reliability_by_hand():
    odds = np.log(np.array([0.62, 0.58, 0.92]) / np.array([0.38, 0.42, 0.08]))
    found = reliability(odds * [1, -1, 1])
    assert [each.pairs for each in found.bins] == [1, 1, 1]
    assert [(round(each.low, 2), round(each.high, 2)) for each in found.bins] == [(0.55, 0.6), (0.6, 0.65), (0.9, 0.95)]
    assert [each.confidence for each in found.bins] == pytest.approx([0.58, 0.62, 0.92])
    assert [each.accuracy for each in found.bins] == [0, 1, 1]
    assert found.expected_calibration_error == pytest.approx((0.58 + 0.38 + 0.08) / 3)
    assert found.log_loss == pytest.approx(-np.log([0.62, 0.42, 0.92]).mean())


def test_true_probabilities_are_reliable_and_exaggerated_ones_are_not():
    rng = np.random.default_rng(0)
    odds = rng.normal(0, 1.5, size=20_000)
    margins = np.where(rng.random(20_000) < 1 / (1 + np.exp(-odds)), odds, -odds)
    assert reliability(margins).expected_calibration_error < 0.01
    assert reliability(3 * margins).expected_calibration_error > 0.1
    assert sum(each.pairs for each in reliability(200 * margins).bins) == 20_000  # a confidence of 1 has a bin


@pytest.mark.parametrize(
    ("pairs", "joined"),
    [([5], [5]), ([5, 6], [11]), ([5, 16, 30, 4], [21, 34]), ([30, 4, 5], [39]), ([30, 4, 17, 2], [30, 23])],
)
def test_points_of_few_pairs_are_joined_with_their_neighbours(pairs, joined):
    bins = tuple(ReliabilityBin(n, n + 1, count, n + 0.5, n / 10) for n, count in enumerate(pairs))
    found = Reliability(bins, 0.0, 0.0).joined
    assert [each.pairs for each in found] == joined
    assert (found[0].low, found[-1].high) == (0, len(pairs))
    right = sum(each.pairs * each.accuracy for each in bins)
    assert sum(each.pairs * each.accuracy for each in found) == pytest.approx(right)


def test_agreement_is_kendalls_tau_and_does_not_ask_who_won():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 40))
    one, other = np.triu_indices(40, 1)
    margins = first[one] - first[other], second[one] - second[other]
    assert 2 * same_order(*margins) - 1 == pytest.approx(kendalltau(first, second).statistic)
    turned = np.where(rng.random(len(one)) < 0.5, 1, -1)
    assert margin_correlation(*margins) == pytest.approx(margin_correlation(*(turned * each for each in margins)))
    assert margin_correlation(margins[0], -margins[0]) == pytest.approx(-1)
    assert margin_correlation(margins[0], 0 * margins[0]) is None
