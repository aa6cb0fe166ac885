import numpy as np
import pandas as pd
import pytest

from fergi_reward.calibration.signals import rating_correlations, rating_regressions
from fergi_reward.calibration.table import PreferenceTable
from fergi_reward.fergi import read_fergi

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
    regressions = rating_regressions(table, ["pickscore", "flat"])
    assert list(regressions) == ["pickscore"]
    assert regressions["pickscore"] == pytest.approx(np.array([0.5, -2]) / signal.std(ddof=1))


def test_an_activation_in_the_order_of_the_ratings_correlates_fully():
    table = rated(au4=[0.3, 0.1, 0.2, 9.0], au12=[1.0, 4.0, 2.0, 0.0], au6=[0.1, np.nan, 0.2, 0.3])
    assert rating_correlations(table) == pytest.approx({"au4": 1.0, "au12": -1.0})


def test_without_ratings_nothing_is_said():
    images = rated(au4=[0.1, 0.2, 0.3, 0.4]).images[["user", "session", "image", "rank", "au4"]]
    assert rating_correlations(PreferenceTable(images)) == {}
    assert rating_regressions(PreferenceTable(images), []) == {}


def test_what_fergi_shows(fergi):
    """The paper's point: scorers see alignment, the brow lowerer sees fidelity."""
    table = read_fergi(fergi).with_reactions()
    assert rating_correlations(table)["au4"] == pytest.approx(-0.178, abs=5e-4)
    steady = rating_regressions(table.without_users(["002", "004", "039"]), SCORERS)
    expected = {"image_reward": (0.253, -0.053), "pickscore": (0.153, 0.035), "hps_v2": (0.070, 0.035)}
    for signal, slopes in (expected | {"au4": (0.036, 0.075)}).items():
        assert steady[signal] == pytest.approx(slopes, abs=6e-4), signal
