import numpy as np
import pytest
from scipy.optimize import minimize

from fergi_reward.stats.newton import LargestProducts, Logistic, RepeatedFits, logistic_weights


def test_newton_finds_the_minimum_that_scipy_finds():
    rng = np.random.default_rng(0)
    differences = rng.normal(loc=[0.5, 0.1, 0.0, -0.3], size=(300, 4))

    def loss(weights):
        return np.logaddexp(0, -(differences @ weights)).mean() + 0.005 * weights @ weights

    found = logistic_weights(differences, penalty=0.01)
    np.testing.assert_allclose(found, minimize(loss, np.zeros(4), tol=1e-12).x, atol=1e-5)
    # From far off, where whole steps would leap back and forth, the way is another and the end the same.
    far = logistic_weights(differences, 0.01, np.array([9.0, -9.0, 9.0, -9.0]))
    np.testing.assert_allclose(far, found, atol=1e-9)


def test_largest_products_are_exact_beyond_what_is_enough_and_bounds_below():
    rng = np.random.default_rng(2)
    columns, steps = rng.normal(size=(3, 500)), rng.normal(size=(40, 3))
    exact = np.abs(steps @ columns).max(axis=1)
    enough = np.quantile(exact, 0.7) * np.ones(40)
    found = LargestProducts(columns)(steps, enough)
    is_bound = found <= enough
    assert 0 < is_bound.sum() < 40 and (exact[is_bound] <= found[is_bound]).all()
    np.testing.assert_allclose(found[~is_bound], exact[~is_bound])


def test_separable_pairs_still_have_a_finite_fit():
    weights = logistic_weights(np.full((10, 1), 5.0), penalty=1e-4)
    # At the minimum the penalty's pull equals that of the pairs: 1e-4 w = 5 / (1 + exp(5 w)).
    assert 1e-4 * weights[0] == pytest.approx(5 / (1 + np.exp(5 * weights[0])), rel=1e-3)


@pytest.mark.parametrize("start", [np.zeros(3), np.array([9.0, -9.0, 9.0])], ids=["near", "far"])
def test_many_fits_at_once_are_those_that_scipy_finds_one_by_one(start):
    rng = np.random.default_rng(1)
    differences, person = rng.normal(loc=[0.5, 0.0, -0.3], size=(200, 3)), np.arange(200) % 7
    counts = np.array([[1, 1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1, 1], [3, 0, 0, 2, 0, 1, 1], [0, 0, 0, 0, 0, 0, 1.0]])
    penalties = np.array([[0.01, 0.01, 0.01], [0.1, 0.01, 0.001], [0.02, 0.02, 0.3], [0.01, 0.01, 0.01]])
    found = RepeatedFits(Logistic(differences), person, start).solve(counts, penalties, 1e-6)
    for weights, of, penalty in zip(found, counts, penalties, strict=True):

        def loss(w, of=of, penalty=penalty):
            return np.average(np.logaddexp(0, -(differences @ w)), weights=of[person]) + penalty @ w**2 / 2

        np.testing.assert_allclose(weights, minimize(loss, np.zeros(3), tol=1e-12).x, atol=2e-5)


def test_many_fits_at_once_stay_finite_where_pairs_are_separable():
    differences, person = np.concatenate([np.full((10, 1), 5.0), [[-5.0]]]), np.repeat([0, 1], [10, 1])
    fits = RepeatedFits(Logistic(differences), person, np.array([0.4]))
    weights = fits.solve(np.array([[1.0, 0.0]]), np.array([[1e-4]]), 1e-6)[0]
    assert 1e-4 * weights[0] == pytest.approx(5 / (1 + np.exp(5 * weights[0])), rel=1e-6)
