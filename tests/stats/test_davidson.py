"""Davidson's model of ties, and weights kept at 0 or above: against what scipy finds by other ways."""

import numpy as np
import pytest
from scipy.optimize import minimize

from fergi_reward.stats.davidson import Davidson
from fergi_reward.stats.newton import Logistic, RepeatedFits


def probabilities(differences, weights, nu):
    """Better, worse and tied, as Davidson's paper writes them: by the worth of each side."""
    a, b = np.exp(differences @ weights / 2), np.exp(-(differences @ weights) / 2)
    return np.stack([a, b, nu * np.sqrt(a * b)]) / (a + b + nu * np.sqrt(a * b))


def drawn(weights, nu, *, count=400, seed=0):
    """Pairs of the model, the better side first."""
    rng = np.random.default_rng(seed)
    differences = rng.normal(size=(count, len(weights)))
    shares = probabilities(differences, np.array(weights), nu).cumsum(axis=0)
    outcome = (rng.random(count) > shares).sum(axis=0)
    return differences * np.where(outcome == 1, -1, 1)[:, None], outcome == 2


def test_the_fit_is_the_minimum_that_scipy_finds_for_every_share_of_people():
    differences, tied = drawn([1.0, -0.5, 0.2], 0.8)
    person, penalties = np.arange(400) % 5, np.array([0.01, 0.01, 0.03, 1e-6])
    counts = np.array([[1, 1, 1, 1, 1], [0, 1, 1, 1, 1], [3, 0, 0, 1, 1.0]])
    of_pairs = 1 + np.arange(400) % 3 / 2
    fits = RepeatedFits(Davidson(differences, tied), person, np.zeros(4), of_pairs)
    for weights, count in zip(fits.solve(counts, np.tile(penalties, (3, 1)), 1e-7), counts, strict=True):

        def loss(w, count=count):
            better, _, tie = probabilities(differences, w[:3], np.exp(w[3]))
            return -np.average(np.log(np.where(tied, tie, better)), weights=of_pairs * count[person]) + penalties @ (
                w**2 / 2
            )

        np.testing.assert_allclose(weights, minimize(loss, np.zeros(4), tol=1e-12).x, atol=2e-5)


def test_its_losses_are_log_probabilities_and_its_derivatives_their_differences():
    differences, tied = drawn([1.0, -0.5], 0.8, count=30)
    model, weights, every = Davidson(differences, tied), np.array([0.7, -0.2, 0.4]), np.ones(30, dtype=bool)
    better, _, tie = probabilities(differences, weights[:2], np.exp(0.4))
    np.testing.assert_allclose(model.losses(weights[None], every)[:, 0], -np.log(np.where(tied, tie, better)))
    gradient, curvature = model.each(weights)
    for place, step in enumerate(np.eye(3) * 1e-5):
        ahead, back = (model.losses((weights + by)[None], every)[:, 0] for by in (step, -step))
        np.testing.assert_allclose(gradient[:, place], (ahead - back) / 2e-5, atol=1e-9)
        ahead, back = (model.each(weights + by)[0] for by in (step, -step))
        np.testing.assert_allclose(curvature.reshape(30, 3, 3)[:, place], (ahead - back) / 2e-5, atol=1e-9)
    shares = np.random.default_rng(0).random((1, 30))
    for summed, each in zip(model.sums(weights[None], shares), (gradient, curvature), strict=True):
        np.testing.assert_allclose(summed, shares @ each)


def test_nu_and_weights_that_made_the_ties_come_back():
    differences, tied = drawn([1.0, 0.5], 0.8, count=20_000)
    fits = RepeatedFits(Davidson(differences, tied), np.zeros(20_000, dtype=int), np.zeros(3))
    weights = fits.solve(np.ones((1, 1)), np.full((1, 3), 1e-6), 1e-6)[0]
    assert [*weights[:2], np.exp(weights[2])] == pytest.approx([1.0, 0.5, 0.8], abs=0.06)


def test_without_ties_the_weights_are_those_of_bradley_and_terry_and_nu_is_near_0():
    differences, _ = drawn([1.0, 0.5], 0.0)
    person, never = np.zeros(400, dtype=int), np.zeros(400, dtype=bool)
    two, three = (
        RepeatedFits(model, person, np.zeros(model.size)).solve(np.ones((1, 1)), np.full((1, model.size), 1e-6), 1e-8)[
            0
        ]
        for model in (Logistic(differences), Davidson(differences, never))
    )
    np.testing.assert_allclose(three[:2], two, atol=1e-3)
    assert np.exp(three[2]) < 1e-3


@pytest.mark.parametrize("with_ties", [False, True], ids=["two outcomes", "three"])
def test_weights_kept_at_0_or_above_are_those_that_scipy_finds_within_bounds(with_ties):
    rng = np.random.default_rng(2)
    differences = rng.normal(loc=[0.5, 0.0, -0.4, 0.1, -0.1], size=(300, 5))
    differences[:, 1] += differences[:, 0]  # whether one is held at 0 decides what the other is
    tied, person = rng.random(300) < 0.2, np.arange(300) % 30
    model = Davidson(differences, tied) if with_ties else Logistic(differences)
    bounded, penalties = np.arange(model.size) < 5, np.full(model.size, 1e-3)
    counts = np.stack([np.bincount(draw, minlength=30) for draw in rng.integers(30, size=(20, 30))]).astype(float)
    fits = RepeatedFits(model, person, np.zeros(model.size), nonnegative=bounded)
    found = fits.solve(counts, np.tile(penalties, (20, 1)), 1e-8)
    assert (found[:, :5] == 0).any(axis=1).all()
    every = np.ones(300, dtype=bool)
    for weights, count in zip(found, counts, strict=True):

        def loss(w, count=count):
            return np.average(model.losses(w[None], every)[:, 0], weights=count[person]) + penalties @ w**2 / 2

        best = minimize(
            loss,
            np.zeros(model.size),
            method="L-BFGS-B",
            bounds=[(0, None) if each else (None, None) for each in bounded],
            options={"ftol": 1e-15, "gtol": 1e-10},
        )
        assert (weights[:5] >= 0).all() and loss(weights) <= best.fun + 1e-10
        np.testing.assert_allclose(weights, best.x, atol=1e-3)


def test_separable_pairs_whose_weight_must_not_be_negative_have_weight_0():
    likelihood, person = Logistic(np.full((10, 1), -5.0)), np.zeros(10, dtype=int)
    fits = RepeatedFits(likelihood, person, np.zeros(1), nonnegative=np.array([True]))
    assert fits.solve(np.ones((1, 1)), np.full((1, 1), 1e-4), 1e-6).tolist() == [[0.0]]
