"""The ideas of eval/fergi/ideas on small tables: none may see the ranks of the participant that is left out."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from boosted import THRESHOLDS, fit_boosted
from ceiling import Orders, at_best, earlier_preferred, own_orders, rated
from linear import first_as_good
from participants import COURSES, leave_out
from plackett_luce import fit_orders
from try_ideas import IDEAS, held_out, rows

from fergi_reward.data.fergi import ACTION_UNITS, read_fergi
from fergi_reward.data.table import PreferenceTable
from fergi_reward.stats.newton import logistic_weights

SCORES = ("image_reward", "pickscore", "hps_v2", "clip", "aesthetic", "blip")
IMAGES = 3


@pytest.fixture(scope="module")
def table():
    """Twelve participants with eight sessions of three images, ranked by a score, a face and chance."""
    rng, count = np.random.default_rng(0), 12 * 8 * IMAGES
    images = pd.DataFrame({name: rng.normal(size=count) for name in (*SCORES, *COURSES)})
    images = images.assign(**{unit: rng.exponential(size=count) for unit in ACTION_UNITS})
    images["user"] = np.repeat([f"{user:03d}" for user in range(12)], 8 * IMAGES)
    images["session"] = np.tile(np.repeat(np.arange(8), IMAGES), 12)
    images["image"] = np.tile(np.arange(1, IMAGES + 1), 12 * 8)
    total = 2 * images["pickscore"] - 2 * images["au4"] + rng.gumbel(size=count)
    images["rank"] = total.groupby([images["user"], images["session"]]).rank().astype(int)
    return PreferenceTable(images, au_source="test")


def test_the_left_out_participant_has_no_ranks_and_pairs_in_the_order_of_the_images(table):
    training, left_out, sign = leave_out(table, "003")
    assert "rank" not in left_out.images and set(left_out.images["user"]) == {"003"}
    assert "003" not in set(training.images["user"])
    assert (left_out.first < left_out.second).all() and len(sign) == 8 * 3
    pairs, theirs = table.pairs(), table.pairs().users == "003"
    score = table.images["pickscore"].to_numpy()
    expected = (score[pairs.better] - score[pairs.worse])[theirs]
    own = left_out.images["pickscore"].to_numpy()
    np.testing.assert_array_equal(sign * (own[left_out.first] - own[left_out.second]), expected)
    own = training.images["pickscore"].to_numpy()
    expected = (score[pairs.better] - score[pairs.worse])[~theirs]
    np.testing.assert_array_equal(own[training.first] - own[training.second], expected)


@pytest.mark.parametrize("name", IDEAS)
def test_turning_the_ranks_of_the_left_out_participant_around_turns_the_log_odds_around(table, name):
    images = table.images.copy()
    theirs = images["user"] == "003"
    images.loc[theirs, "rank"] = IMAGES + 1 - images.loc[theirs, "rank"]
    turned = replace(table, images=images)

    def by_images(of):
        training, left_out, sign = leave_out(of, "003")
        log_odds = IDEAS[name](training, left_out)
        return dict(
            zip(zip(left_out.first, left_out.second, strict=True), zip(log_odds, sign, strict=True), strict=True)
        )

    before, after = by_images(table), by_images(turned)
    assert before.keys() == after.keys() and len(before) == 8 * 3
    for pair, (log_odds, sign) in before.items():
        assert after[pair] == (pytest.approx(log_odds, abs=1e-9), -sign)
    right = np.mean([log_odds * sign > 0 for log_odds, sign in before.values()])
    assert right > 0.6  # pickscore and AU4 were made to tell


def test_the_order_of_two_images_is_a_pair():
    rng = np.random.default_rng(0)
    differences, penalties = rng.normal(0.3, 1.0, size=(200, 3)), np.full(3, 0.01)
    weights = fit_orders(differences, np.arange(200), penalties, np.zeros(3))
    np.testing.assert_allclose(weights, logistic_weights(differences, penalties), atol=1e-5)


def test_known_weights_of_orders_come_back():
    """Orders of five drawn by Plackett-Luce: the utility with Gumbel noise, sorted."""
    rng, truth = np.random.default_rng(0), np.array([0.8, -0.4, 0.0])
    values = rng.normal(size=(2000, 5, 3))
    order = np.argsort(-(values @ truth + rng.gumbel(size=(2000, 5))), axis=1)
    ranked = np.take_along_axis(values, order[:, :, None], axis=1)
    places = [(high, low) for high in range(5) for low in range(high + 1, 5)]
    differences = np.concatenate([ranked[:, high] - ranked[:, low] for high, low in places])
    chosen = np.concatenate([5 * np.arange(2000) + high for high, _ in places])
    np.testing.assert_allclose(fit_orders(differences, chosen, np.full(3, 1e-9), np.zeros(3)), truth, atol=0.06)


def test_stumps_of_scorers_only_rise(table):
    added = fit_boosted(leave_out(table, "003")[0]).added.reshape(-1, THRESHOLDS)
    assert (added[:3] >= 0).all() and added[1].sum() > 0
    assert added[3 + ACTION_UNITS.index("au4")].sum() < 0


def test_the_simplest_that_one_standard_error_cannot_tell_from_the_best():
    person = np.arange(4)
    best, close, worse = np.array([1.0, 1.0, 1.0, 1.0]), np.array([1.5, 0.6, 1.4, 0.7]), np.full(4, 1.2)
    assert first_as_good([worse, close, best], person) == 1
    assert first_as_good([worse, best, close], person) == 1


def test_the_table_compares_with_the_first_model_over_participants():
    users = np.repeat(["a", "b", "c"], 50)
    better = np.full(150, 2.0)
    one, same, other = rows({"present": np.full(150, 0.5), "same": np.full(150, 0.5), "other": better}, users)
    assert one["less present"] == same["less present"] == "+0.0000" and same["95 %"] == "+0.0000 to +0.0000"
    gain = np.log1p(np.exp(-2.0)) - np.log1p(np.exp(-0.5))
    assert other["less present"] == f"{gain:+.4f}" and other["99.5 %"] == f"{gain:+.4f} to {gain:+.4f}"
    assert other["accuracy"] == "100.0%"


def test_held_out_log_odds_are_of_the_preferred_image(table):
    def knowing(training, left_out):  # the rank is hidden, so that this one looks it up
        ranks = table.images.set_index(["user", "session", "image"])["rank"]
        own = ranks.loc[pd.MultiIndex.from_frame(left_out.images[["user", "session", "image"]])].to_numpy()
        return (own[left_out.first] - own[left_out.second]).astype(float)

    assert (held_out("knowing", knowing, table) > 0).all()


def test_second_judgements_are_counted_and_bound_what_is_possible(fergi):
    assert Orders.of(np.array([1.0, 2.0, 0.0, -1.0])) == Orders(2, 1, 1)
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 100_000)) < 0.9  # each is right with 0.9, independently
    assert at_best((first == second).mean()) == pytest.approx(0.9, abs=0.005)
    table = rated(read_fergi(fergi).with_reactions())
    orders = own_orders(table, "overall_rating")
    both = table.images.merge(table.images, on=["user", "session"])
    both = both[both["rank_x"] > both["rank_y"]]
    assert orders.pairs == len(both) == 3674
    assert orders.same == (both["overall_rating_x"] > both["overall_rating_y"]).sum()
    assert orders.tied == (both["overall_rating_x"] == both["overall_rating_y"]).sum()
    both = both[both["overall_rating_x"] == both["overall_rating_y"]]
    assert earlier_preferred(table)["overall equal"] == pytest.approx((both["image_x"] < both["image_y"]).mean())
