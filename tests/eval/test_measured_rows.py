"""Measurements that an interrupted run goes on from."""

import json

import pytest

from fergi_reward.core.errors import FergiRewardError


@pytest.fixture
def rows_in():
    from measured_rows import MeasuredRows

    return MeasuredRows


def test_another_run_takes_over_what_was_measured(rows_in, tmp_path):
    first = rows_in(tmp_path / "rows.json", {"rounds": 3})
    assert first.lacks(["scorer a"])
    first.add({"scorer a": {"s/image": 2.0}})
    again = rows_in(tmp_path / "rows.json", {"rounds": 3})
    assert not again.lacks(["scorer a"])
    assert again.lacks(["scorer a", "scorer b"])
    assert again.rows == first.rows
    assert again.rows["scorer a"]["system load"] >= 0


def test_rows_of_other_conditions_are_refused(rows_in, tmp_path):
    path = tmp_path / "rows.json"
    rows_in(path, {"rounds": 3}).add({"scorer a": {"s/image": 2.0}})
    with pytest.raises(FergiRewardError, match=r"other settings, \{'rounds': 3\}, now \{'rounds': 1\}: choose another"):
        rows_in(path, {"rounds": 1})
    path.write_text(json.dumps(json.loads(path.read_text()) | {"machine": {"cores": "1000"}}))
    with pytest.raises(FergiRewardError, match=r"other machine, \{'cores': '1000'\}"):
        rows_in(path, {"rounds": 3})


@pytest.mark.parametrize("text", ["", "[]", "{}"])
def test_a_file_of_another_kind_is_not_overwritten(rows_in, tmp_path, text):
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(FergiRewardError, match="holds no measurements"):
        rows_in(tmp_path / "rows.json", {})
    assert (tmp_path / "rows.json").read_text() == text


def test_tables_are_by_kind(rows_in):
    from measured_rows import tables

    rows = {"scorer a": {"s/image": 2.0, "seconds": [2.0]}, "count a 8": {"s/image": 3.0}, "scorer b": {"s/image": 4.0}}
    scorers, counts, ratios = tables(rows, {"original / scorer a": 1.5}).split("\n\n")
    assert [line.split("|")[1].strip() for line in scorers.splitlines()[2:]] == ["a", "b"]
    assert "seconds" not in scorers
    assert "a 8" in counts
    assert "1.5" in ratios
    assert "ratio" not in tables(rows, {})
