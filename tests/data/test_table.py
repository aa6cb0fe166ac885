import numpy as np
import pandas as pd
import pytest

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.table import PreferenceTable


def table(**columns):
    rows = {
        "user": ["a", "a", "a", "b", "b"],
        "session": [1, 1, 2, 1, 1],
        "image": [1, 2, 1, 1, 2],
        "rank": [1, 2, 1, 5, 3],
        "score": [0.1, 0.2, 0.3, 0.4, 0.5],
        "au4": [0.0, np.nan, 1.0, 2.0, 3.0],
    }
    return PreferenceTable(pd.DataFrame(rows | columns), au_source="test")


def test_pairs_are_within_a_session_and_the_preferred_comes_first():
    pairs = table().pairs()
    assert list(zip(pairs.better, pairs.worse, pairs.users, strict=True)) == [(1, 0, "a"), (3, 4, "b")]


def test_only_images_with_a_reaction_make_pairs_with_reactions():
    assert table().with_reactions().pairs().users.tolist() == ["b"]


def test_five_ranked_images_make_ten_pairs():
    images = pd.DataFrame({"user": "a", "session": 1, "image": range(5), "rank": [3, 1, 5, 2, 4]})
    pairs = PreferenceTable(images).pairs()
    ranks = images["rank"].to_numpy()
    assert len(pairs) == 10
    assert (ranks[pairs.better] > ranks[pairs.worse]).all()


def test_ranks_given_as_text_order_as_numbers():
    images = pd.DataFrame({"user": "a", "session": 1, "image": range(4), "rank": ["8", "9", "10", "11"]})
    pairs = PreferenceTable(images).pairs()
    assert len(pairs) == 6
    assert (pairs.better > pairs.worse).all()


def test_a_rank_given_twice_is_refused():
    with pytest.raises(FergiRewardError, match="participant a, session 1: rank 1 is given twice"):
        table(rank=[1, 1, 1, 5, 3])


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("rank", [1, 2.5, 1, 5, 3], "participant a, session 1, image 2: a rank is a whole number, got 2.5"),
        ("rank", ["1", "two", "1", "5", "3"], "image 2: a rank is a whole number, got two"),
        ("rank", [1, float("inf"), 1, 5, 3], "got inf"),
        ("rank", ["1", "01", "1", "5", "3"], "participant a, session 1: rank 1 is given twice"),
        ("image", [1, 1, 1, 1, 2], "participant a, session 1: image 1 is given twice"),
    ],
)
def test_ranks_are_whole_and_images_come_once(column, values, message):
    with pytest.raises(FergiRewardError, match=message):
        table(**{column: values})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.1, "good", 0.3, 0.4, 0.5], "holds something that is no number"),
        ([0.1, float("nan"), 0.3, 0.4, 0.5], "score is nan in row 1"),
        ([0.1, 1e308, 0.3, 0.4, 0.5], r"score is 1e\+308 in row 1: it must be finite, at most 1e\+12"),
        ([20.1] * 5, "score has the same value for every image"),
        ([0.0] * 5, "score has the same value for every image"),
    ],
)
def test_columns_to_weigh_are_finite_and_vary(values, message):
    with pytest.raises(FergiRewardError, match=message):
        table(score=values).columns(["score"])


def test_missing_columns_are_named():
    with pytest.raises(FergiRewardError, match="rank missing"):
        PreferenceTable(pd.DataFrame({"user": [], "session": [], "image": []}))
    with pytest.raises(FergiRewardError, match=r"no column hps_v2; it has user, session, image, rank, score, au4"):
        table().columns(["score", "hps_v2"])


def test_the_fingerprint_sees_values_and_source_but_not_order():
    first = table()
    shuffled = PreferenceTable(first.images.sample(frac=1, random_state=0), au_source="test")
    assert shuffled.fingerprint() == first.fingerprint()
    assert table(score=[0.1, 0.2, 0.3, 0.4, 0.6]).fingerprint() != first.fingerprint()
    assert PreferenceTable(first.images, au_source="other").fingerprint() != first.fingerprint()
