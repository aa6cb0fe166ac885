"""Raters of different sensitivities: against integrals by scipy, and against raters that were made up."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm, spearmanr

from fergi_reward.stats.newton import logistic_weights
from fergi_reward.stats.sensitivity import MOST_SPREAD, RaterPairs, SensitiveFit, log_odds_of_anybody

FREE = np.zeros(2, dtype=bool)
PENALTIES = np.full(2, 1e-3)


def drawn(sensitivities, *, pairs, seed=0):
    """Differences of the pairs of raters with these sensitivities, the better side first, and whose they are."""
    rng = np.random.default_rng(seed)
    rater = np.repeat(np.arange(len(sensitivities)), pairs)
    differences = rng.normal(size=(len(rater), 2))
    margins = sensitivities[rater] * (differences @ [2.0, -1.0])
    return differences * np.where(margins > rng.logistic(size=len(rater)), 1, -1)[:, None], rater


def raters(sensitivities, *, pairs, seed=0):
    differences, rater = drawn(sensitivities, pairs=pairs, seed=seed)
    return RaterPairs(differences, rater, np.ones(len(rater)))


@pytest.mark.parametrize("spread", [0.3, 1.0, 2.0])
def test_the_marginal_likelihood_is_the_integral_over_the_sensitivity(spread):
    differences, rater = drawn(np.exp(np.linspace(-1, 1, 6)), pairs=15)
    counts, weights = 1 + np.arange(len(rater)) % 2.0, np.array([0.8, -0.3])

    def of(number):
        mine = rater == number
        margins = differences[mine] @ weights

        def density(z):
            log = -counts[mine] @ np.logaddexp(0, -margins * np.exp(spread * z))
            return np.exp(log + 20) * norm.pdf(z)

        return np.log(quad(density, -8, 8, limit=200, epsabs=1e-14)[0]) - 20

    found = RaterPairs(differences, rater, counts).log_likelihood(SensitiveFit(weights, spread))
    assert found == pytest.approx(sum(map(of, range(6))), abs=0.02)


def test_log_odds_of_anybody_are_those_of_the_mean_probability():
    for margin in (-4.0, 0.3, 2.0):
        mean = quad(lambda z, m=margin: norm.pdf(z) * expit(m * np.exp(z)), -8, 8)[0]
        found = log_odds_of_anybody(np.array([margin]), 1.0)[0]
        assert found == pytest.approx(np.log(mean / (1 - mean)), abs=2e-3)
    np.testing.assert_allclose(log_odds_of_anybody(np.array([-800.0, 800.0]), 0.0), [-800, 800])


def test_no_weights_and_no_spread_nearby_are_more_likely():
    pairs = raters(np.exp(np.linspace(-1.5, 1.5, 12)), pairs=30)
    fit = pairs.fit(PENALTIES, np.zeros(2), FREE)

    def loss(found):
        return -pairs.log_likelihood(found) / 360 + PENALTIES @ found.weights**2 / 2

    for step in np.vstack([np.eye(3), -np.eye(3)]) * 1e-3:
        # At a minimum, a step changes the loss by its square only.
        risen = loss(SensitiveFit(fit.weights + step[:2], fit.spread + step[2])) - loss(fit)
        assert 0 < risen < 1e-6


def test_raters_who_are_alike_have_no_spread_and_the_plain_weights():
    differences, rater = drawn(np.ones(15), pairs=40, seed=2)
    fit = RaterPairs(differences, rater, np.ones(600)).fit(PENALTIES, np.zeros(2), FREE)
    assert fit.spread < 0.1
    np.testing.assert_allclose(fit.weights, logistic_weights(differences, 1e-3), atol=0.02)


def test_sensitivities_come_back_in_their_order_and_the_weights_with_them():
    sensitivities = np.exp(norm.ppf(np.linspace(0.01, 0.99, 40)))
    pairs = raters(sensitivities, pairs=60)
    fit = pairs.fit(PENALTIES, np.zeros(2), FREE)
    assert fit.spread == pytest.approx(1, abs=0.3)
    np.testing.assert_allclose(fit.weights, [2.0, -1.0], atol=0.3)
    assert spearmanr(pairs.sensitivities(fit), sensitivities).statistic > 0.85


def test_who_answers_at_random_is_told_from_who_does_not():
    careful = np.arange(20) % 2
    pairs = raters(careful * 1.0, pairs=60)
    found = pairs.sensitivities(pairs.fit(PENALTIES, np.zeros(2), FREE))
    assert found[careful == 0].max() < found[careful == 1].min()


def test_a_pair_that_counts_twice_is_two_pairs():
    differences, rater = drawn(np.exp(np.linspace(-1, 1, 6)), pairs=10)
    often = 1 + np.arange(60) % 3
    counted = RaterPairs(differences, rater, often.astype(float)).fit(PENALTIES, np.zeros(2), FREE)
    repeated = RaterPairs(differences.repeat(often, axis=0), rater.repeat(often), np.ones(often.sum()))
    again = repeated.fit(PENALTIES, np.zeros(2), FREE)
    np.testing.assert_allclose([*counted.weights, counted.spread], [*again.weights, again.spread], atol=1e-6)


def test_weights_stay_at_0_or_above_and_pairs_that_are_all_right_give_finite_numbers():
    pairs = raters(np.ones(8), pairs=10)
    assert pairs.fit(PENALTIES, np.zeros(2), ~FREE).weights[1] == 0
    right = RaterPairs(np.abs(pairs.differences), np.arange(80) // 10, np.ones(80)).fit(PENALTIES, np.zeros(2), FREE)
    assert np.isfinite(right.weights).all() and 0 <= right.spread <= MOST_SPREAD
