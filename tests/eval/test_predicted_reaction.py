"""How well a reaction can be predicted: the accuracy, and its ceiling in the simulation."""

import numpy as np
import pytest
import torch
from predicted_reaction import ALL, PICKSCORE, Setting, accuracy, expected_valence, ordered_by, simulate
from scipy.stats import spearmanr

from fergi_reward.faces.viewings import Viewings


def viewings(valences, sessions):
    count, none = len(valences), torch.zeros(len(valences), 1)
    names = np.array(["a"] * count)
    return Viewings(none, none, torch.tensor(valences), names, np.array(sessions), names)


def test_a_pair_counts_half_where_it_is_predicted_alike_and_not_at_all_where_the_faces_are():
    # Session 0: three pairs, of which (0, 1) is right, (0, 2) wrong, (1, 2) predicted alike. Session 1: like faces.
    seen = viewings([-0.1, -0.2, -0.05, -0.3, -0.3], [0, 0, 0, 1, 1])
    # Predicted 3 > 1 as observed -0.1 > -0.2: right. 3 > 1 although -0.1 < -0.05: wrong. 1 = 1: half.
    predicted = ordered_by(np.array([3.0, 1.0, 1.0, 5.0, 6.0]), seen)
    assert accuracy(predicted) == pytest.approx((1 + 0 + 0.5) / 3)


def test_a_more_faithful_picture_is_frowned_at_less():
    fidelity = np.linspace(-2.5, 1.0, 40)
    expected = expected_valence(fidelity, 0.5, 0.8, np.random.default_rng(0))
    assert ((expected > -1) & (expected < 0)).all()
    assert spearmanr(fidelity, expected).statistic > 0.9


def test_a_world_has_the_rows_of_its_faces_and_the_truth_orders_them_better_than_chance():
    world = simulate(Setting("little noise", participants=4, sessions=10, noise=0.1), seed=1)
    count = len(world.viewings)
    assert 160 < count < 200  # of 200 films some have no face
    assert {len(rows) for pair in world.embeddings.values() for rows in pair} == {count}
    assert len(world.expected) == len(world.fidelity) == count
    (pickscore, _), (everything, _) = world.embeddings[PICKSCORE], world.embeddings[ALL]
    assert any(torch.equal(pickscore, part) for part in everything.split(pickscore.shape[1], dim=1))
    assert spearmanr(world.fidelity, world.expected).statistic > 0.8
    assert accuracy(ordered_by(world.fidelity, world.viewings)) > 0.55
