"""`paper-v1` against the paper's totals, and against a slow, plain reading of its rules."""

from dataclasses import replace

import numpy as np
import pytest

from fergi_reward.calibration import grid
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.fergi import read_fergi
from fergi_reward.data.table import PreferenceTable
from fergi_reward.stats.held_out import evaluate_held_out

PUBLISHED_COUNTS = {
    "image_reward": (2136, 3534),
    "pickscore": (2239, 3534),
    "hps_v2": (2189, 3534),
    "weighted_sum": (2325, 3534),
    "au4": (2001, 3534),
    "au4_selected": (414, 553),
    "weighted_sum_selected": (371, 553),
    "image_reward+au4": (2215, 3534),
    "pickscore+au4": (2308, 3534),
    "hps_v2+au4": (2313, 3534),
    "weighted_sum+au4": (2361, 3534),
}


@pytest.fixture(scope="module")
def outcome(fergi):
    return grid.run(read_fergi(fergi), seed=0)


@pytest.mark.parametrize("model", PUBLISHED_COUNTS)
def test_every_published_total(outcome, model):
    result = evaluate_held_out(next(held_out for held_out in outcome.held_out if held_out.model == model), seed=0)
    assert (result.correct, result.pairs) == PUBLISHED_COUNTS[model]
    assert round(100 * result.accuracy, 2) == grid.PUBLISHED[model]


def test_three_restless_participants_are_left_out(outcome):
    assert sorted(outcome.excluded) == ["002", "004", "039"]
    assert len(outcome.table.users) == 30


def test_counts_of_each_participant_by_a_plain_reading(outcome):
    """Written down again from the paper's rules, a participant at a time: the weighted sum, AU4, PickScore with AU4."""
    images = outcome.table.images
    scores, users, au4 = images[list(grid.SCORERS)].to_numpy(), images["user"].to_numpy(), images["au4"].to_numpy()
    pairs = [
        (first, second)
        for _, rows in images.groupby(["user", "session"])
        for first in rows.index
        for second in rows.index
        if rows["rank"][first] > rows["rank"][second]
    ]
    better, worse = np.array(pairs).T
    everybody, gains = np.unique(users), {}
    own = (users[better][:, None] == everybody).astype(float)
    for k in np.arange(1, 22) / 10:
        difference = (np.exp(-k * au4) - 1)[better] - (np.exp(-k * au4) - 1)[worse]
        for threshold in np.arange(51) / 50:
            points = (np.abs(difference) > threshold) * np.where(difference > 0, 1, -2)
            gains[k, threshold] = points.sum() - points @ own  # of all pairs but those of each participant
    decay = {user: max(gains, key=lambda key: gains[key][place])[0] for place, user in enumerate(everybody)}
    valences = np.exp(-np.array([decay[user] for user in users]) * au4) - 1
    for user in everybody:
        others, training = users != user, users[better] != user
        z = (scores - scores[others].mean(0)) / scores[others].std(0, ddof=1)
        weights = max(grid.weight_grid(), key=lambda w: ((z @ w)[better] > (z @ w)[worse])[training].sum())
        totals = [z[:, 1] + c / 10 * valences for c in range(31)]
        combined = max(totals, key=lambda total: (total[better] > total[worse])[training].sum())
        for model, total in (("weighted_sum", z @ weights), ("au4", valences), ("pickscore+au4", combined)):
            right = (total[better] > total[worse])[~training].sum()
            assert _count(outcome, model, user) == {"correct": right, "pairs": (~training).sum()}, (model, user)


def _count(outcome, model, user):
    held_out = next(held_out for held_out in outcome.held_out if held_out.model == model)
    return evaluate_held_out(held_out, seed=0).per_participant[user]


def test_the_weight_grid_is_the_authors():
    weights = grid.weight_grid()
    assert weights.shape == (60, 3)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(weights[[0, 1, 10, -1]], [[0, 0, 1], [0, 0.1, 0.9], [0, 1, 0], [1, 0, 0]], atol=1e-12)
    assert (np.diff(weights[:, 0]) >= 0).all()  # the first weight is outermost


def test_one_participant_is_too_few(simulated):
    table = read_fergi(simulated)
    with pytest.raises(FergiRewardError, match="only 1 is left"):
        grid.run(table.without_users(table.users[1:]), seed=0)


def test_without_baselines_nobody_is_known_to_be_steady(simulated):
    table = read_fergi(simulated)
    unknown = table.baseline[table.baseline["user"] != "002"]
    excluded = grid.unsteady_participants(replace(table, baseline=unknown))
    assert excluded["002"] == "no valid baseline clip"
    with pytest.raises(FergiRewardError, match="needs baseline clips"):
        grid.run(PreferenceTable(table.images, au_source="test"), seed=0)


def test_published_figures_stand_next_to_the_data_they_belong_to_alone(outcome, fergi):
    assert outcome.published == grid.PUBLISHED
    fewer = read_fergi(fergi).without_users(["001"])
    assert grid.run(fewer, seed=0).published == {}


def test_final_fits_hold_the_published_grid_points(outcome):
    fits = {fit.name: fit for fit in outcome.fits}
    full = fits["weighted_sum+au4"]
    assert full.decays == (0.4,)  # the published coefficient
    assert sum(term.weight for term in full.terms[:3]) == pytest.approx(1)
    assert isinstance(outcome.table, PreferenceTable)
