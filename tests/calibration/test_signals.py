import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress, t

from fergi_reward.calibration.signals import (
    emotion_rank_sums,
    extremity_correlations,
    quartiles,
    rating_correlations,
    rating_regressions,
    regress,
)
from fergi_reward.data.fergi import read_fergi
from fergi_reward.data.table import PreferenceTable

SCORERS = ("image_reward", "pickscore", "hps_v2")


def rated(**columns):
    """Four images of one session; the last one was not rated."""
    place = {"user": "a", "session": 1, "image": [1, 2, 3, 4], "rank": [1, 2, 3, 4]}
    ratings = {"overall_rating": [3, 1, 2, 0], "alignment_rating": [1, 2, 1, 0], "fidelity_rating": [1, 1, 2, 0]}
    return PreferenceTable(pd.DataFrame(place | ratings | columns), au_source="test")


def test_a_signal_made_of_the_ratings_gives_them_back():
    # 0.5 a point of alignment, -2 a point of fidelity, over its standard deviation with the unrated image.
    signal = np.array([0.5 - 2, 1 - 2, 0.5 - 4, 7.0])
    table = rated(pickscore=signal, flat=1.0)
    regressions, std = rating_regressions(table, ["pickscore", "flat"]), signal.std(ddof=1)
    assert list(regressions) == ["pickscore"]
    assert [slope.value for slope in regressions["pickscore"]] == pytest.approx([0.5 / std, -2 / std])


def test_an_activation_in_the_order_of_the_ratings_correlates_fully():
    table = rated(au4=[0.3, 0.1, 0.2, 9.0], au12=[1.0, 4.0, 2.0, 0.0], au6=[0.1, np.nan, 0.2, 0.3])
    found = {unit: test.value for unit, test in rating_correlations(table).items()}
    assert found == pytest.approx({"au4": 1.0, "au12": -1.0})


def test_a_face_that_moves_at_good_and_bad_images_goes_with_the_distance_from_the_middle():
    ratings = [1, 4, 7, 5]
    table = rated(au12=[3.0, 0.0, 3.0, 1.0]).images.assign(overall_rating=ratings)
    assert extremity_correlations(PreferenceTable(table))["au12"].value == pytest.approx(1.0)


def test_equal_activations_rank_equally_whatever_their_last_bit():
    exact, noisy = [0.3, 0.3, 0.2, 0.0], [0.1 + 0.2, 0.3, 0.2, 0.0]
    assert exact != noisy
    assert rating_correlations(rated(au4=exact)) == rating_correlations(rated(au4=noisy))


def test_rank_sums_of_a_worked_example():
    # Ranks 2, 3 and 4 with the emotion: 9 where 7.5 is expected, with a variance of 3 * 1 * 5 / 12.
    table = rated(au4=[0.4, 0.3, 0.2, 0.1])
    emotions = table.images[["user", "session", "image"]].assign(amused=[True, True, True, False])
    assert emotion_rank_sums(table, emotions)["amused"]["au4"].value == pytest.approx(1.5 / np.sqrt(1.25))


def test_slopes_and_their_chances_are_those_of_a_single_regression_where_ratings_do_not_go_together():
    """With the other rating in balance, a slope of two is that of one; its p-value then differs in one freedom only."""
    ratings = pd.DataFrame({"alignment_rating": [1, 1, 2, 2] * 5, "fidelity_rating": [1, 2, 1, 2] * 5})
    signal = np.random.default_rng(0).normal(size=20) + ratings["alignment_rating"]
    alignment, _ = regress(pd.DataFrame({"clip": signal}), ratings)["clip"]
    single = linregress(
        ratings["alignment_rating"], signal - signal.groupby(ratings["fidelity_rating"]).transform("mean")
    )
    assert alignment.value == pytest.approx(single.slope)
    assert alignment.p_value == pytest.approx(2 * t.sf(abs(single.rvalue) * np.sqrt(17 / (1 - single.rvalue**2)), 17))


def test_quartiles_are_numpys():
    values = pd.Series(np.random.default_rng(1).normal(size=50))
    groups = pd.Series(np.arange(50) % 2)
    for group, found in quartiles(values, groups).items():
        assert found == pytest.approx(np.quantile(values[groups == group], [0.25, 0.5, 0.75]))


def test_without_ratings_nothing_is_said():
    images = rated(au4=[0.1, 0.2, 0.3, 0.4]).images[["user", "session", "image", "rank", "au4"]]
    assert rating_correlations(PreferenceTable(images)) == {}
    assert rating_regressions(PreferenceTable(images), []) == {}


def test_what_fergi_shows(fergi):
    """The paper's point: scorers see alignment, the brow lowerer sees fidelity."""
    table = read_fergi(fergi).with_reactions()
    assert rating_correlations(table)["au4"].value == pytest.approx(-0.178, abs=5e-4)
    steady = rating_regressions(table.without_users(["002", "004", "039"]), SCORERS)
    expected = {"image_reward": (0.253, -0.053), "pickscore": (0.153, 0.035), "hps_v2": (0.070, 0.035)}
    for signal, slopes in (expected | {"au4": (0.036, 0.075)}).items():
        assert [slope.value for slope in steady[signal]] == pytest.approx(slopes, abs=6e-4), signal
