import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.reactions.source_map import SourceMap


def source_map(*knots):
    return SourceMap("camera", "fergi-ir50", knots, "by hand", 20, ("ann",), 30, ("bob",), "0.1.0")


def test_it_is_flat_below_the_knots_and_continues_with_their_mean_slope_beyond():
    given_knots = source_map((0.1, 0.5), (0.2, 0.6), (0.3, 1.1))  # the mean slope is 3
    activations = np.array([[0.0, 0.1, 0.15], [0.25, 0.4, np.nan]])
    np.testing.assert_allclose(given_knots(activations), [[0.5, 0.5, 0.55], [0.85, 1.4, np.nan]])


columns = st.lists(st.integers(0, 10_000), min_size=2, max_size=8, unique=True).map(sorted)


@given(columns, columns, st.lists(st.floats(0, 20), min_size=1))
def test_the_order_of_activations_is_kept_and_none_is_negative(before, after, activations):
    knots = [(x / 1000, y / 1000) for x, y in zip(before, after, strict=False)]
    mapped = source_map(*knots)(np.sort([0.0, *activations]))
    assert (np.diff(mapped) >= -1e-9).all()
    assert mapped[0] == knots[0][1] >= 0


@pytest.mark.parametrize("kind", [Path, str])
def test_it_comes_back_as_it_was_written_under_a_path_or_a_text(kind, tmp_path):
    written = source_map((0.0, 0.1), (1 / 3, 2.0))
    written.save(kind(tmp_path / "map.json"))
    assert SourceMap.load(kind(tmp_path / "map.json")) == written


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 9}, "has schema 9, this version reads 1"),
        ({"method": None}, "method is None"),
        ({"colour": "red"}, "has unknown colour"),
        ({"from_clips": 1.5}, "from_clips is 1.5"),
        ({"to_users": "ann"}, "to_users is 'ann'"),
        ({"knots": [[0, 1]]}, "at least two knots"),
        ({"knots": [[0, 1], [1]]}, "knots is"),
        ({"knots": [[0, 0], [1, True]]}, "knots is"),
        ({"knots": [[0, 1], [1, 1]]}, "must be finite, at least 0, and rise"),
        ({"knots": [[0, 1], [0, 2]]}, "must be finite, at least 0, and rise"),
        ({"knots": [[-1, 1], [0, 2]]}, "must be finite, at least 0, and rise"),
        ({"knots": [[0, 1], [1, float("nan")]]}, "NaN is no JSON number"),
    ],
)
def test_a_damaged_map_is_named(tmp_path, changes, message):
    path = tmp_path / "map.json"
    source_map((0.0, 0.1), (0.5, 2.0)).save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(FergiRewardError, match=f"source map .*map.json.*{message}"):
        SourceMap.load(path)


@pytest.mark.parametrize(("text", "message"), [(None, "cannot be read"), ("{", "is not JSON"), ("[]", "schema None")])
def test_no_map_at_all(tmp_path, text, message):
    if text is not None:
        (tmp_path / "map.json").write_text(text)
    with pytest.raises(FergiRewardError, match=message):
        SourceMap.load(tmp_path / "map.json")


def test_a_key_that_is_missing(tmp_path):
    (tmp_path / "map.json").write_text('{"schema": 1}')
    with pytest.raises(FergiRewardError, match="lacks from_source, lacks to_source, lacks knots"):
        SourceMap.load(tmp_path / "map.json")
