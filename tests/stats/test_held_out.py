import numpy as np
import pytest

from fergi_reward.stats.coverage import coverage_curve
from fergi_reward.stats.held_out import HeldOut, evaluate_held_out
from fergi_reward.stats.reliability import log_loss


def held_out(margins, users, **options):
    return HeldOut("model", np.array(margins, dtype=float), np.array(users), **options)


def test_counts_by_hand_a_tie_is_wrong():
    result = evaluate_held_out(held_out([1, -1, 0, 2, 3], ["a", "a", "a", "b", "b"]), seed=0)
    assert (result.correct, result.pairs, result.accuracy) == (3, 5, 0.6)
    assert result.per_participant == {"a": {"correct": 1, "pairs": 3}, "b": {"correct": 2, "pairs": 2}}
    assert result.log_loss is None


def test_log_loss_of_known_odds():
    odds_of_three = np.log(3.0)
    assert log_loss(np.array([odds_of_three, -odds_of_three])) == pytest.approx(-np.log(0.75 * 0.25) / 2)
    assert log_loss(np.array([800.0])) == 0.0
    assert log_loss(np.array([-800.0])) == 800.0


def test_participants_not_pairs_are_drawn():
    # Ten participants all alike leave nothing to chance; five all right and five all wrong leave much.
    users = np.repeat([f"{user}" for user in range(10)], 20)
    alike = evaluate_held_out(held_out(np.tile([1.0, -1.0], 100), users), seed=0)
    assert alike.ci95 == (0.5, 0.5)
    split = evaluate_held_out(held_out(np.repeat([1.0, -1.0], 100), users), seed=0)
    standard_error = 0.5 / np.sqrt(10)
    assert split.ci95[1] - split.ci95[0] == pytest.approx(2 * 1.96 * standard_error, rel=0.15)


def test_one_seed_gives_one_interval():
    rng = np.random.default_rng(0)
    model = held_out(rng.normal(size=200), rng.choice(list("abcdefghij"), size=200))
    assert evaluate_held_out(model, seed=1) == evaluate_held_out(model, seed=1)
    assert evaluate_held_out(model, seed=1).ci95 != evaluate_held_out(model, seed=2).ci95


def test_coverage_takes_the_surest_first():
    coverage, accuracy = coverage_curve(np.array([0.1, -0.2, 3.0, -2.0]))
    np.testing.assert_allclose(coverage, [0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(accuracy, [1.0, 0.5, 1 / 3, 0.5])
