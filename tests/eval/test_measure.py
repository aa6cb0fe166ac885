"""Measurements that an interrupted run resumes with."""

import json

import pytest

from fergi_reward.core.errors import FergiRewardError


@pytest.fixture
def rows_in():
    from measure import MeasuredRows

    return MeasuredRows


def never():
    pytest.fail("it is measured again")


def test_another_run_takes_over_what_was_measured(rows_in, tmp_path):
    first = rows_in(tmp_path / "rows.json", {"rounds": 3})
    first.measure(["scorer a"], lambda: {"scorer a": {"s/image": 2.0}})
    again = rows_in(tmp_path / "rows.json", {"rounds": 3})
    again.measure(["scorer a"], never)
    assert again.rows == first.rows
    assert again.rows["scorer a"]["system load"] >= 0
    again.measure(["scorer a", "scorer b"], lambda: {"scorer a": {"s/image": 3.0}, "scorer b": {"s/image": 4.0}})
    assert [row["s/image"] for row in rows_in(tmp_path / "rows.json", {"rounds": 3}).rows.values()] == [3.0, 4.0]


def test_tasks_take_turns():
    from measure import by_turns

    done = []
    tasks = {name: lambda name=name: done.append(name) or len(done) for name in "ab"}
    assert by_turns(tasks, 3, "test") == {"a": [1, 3, 5], "b": [2, 4, 6]}


def test_seconds_are_of_the_clock_and_a_first_call_counts_only_alone():
    from measure import image_row, timed

    assert timed(lambda: None, iter([10.0, 12.5]).__next__)() == 2.5
    assert image_row(4, [9.0, 2.0, 1.0, 4.0])["s/image"] == 0.5
    assert image_row(4, [2.0]) == {"images": 4, "seconds": [2.0], "s/image": 0.5, "images/s": 2.0}


def test_rows_of_other_conditions_are_refused(rows_in, tmp_path):
    path = tmp_path / "rows.json"
    rows_in(path, {"rounds": 3}).measure(["scorer a"], lambda: {"scorer a": {"s/image": 2.0}})
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
    from measure import tables

    rows = {"scorer a": {"s/image": 2.0, "seconds": [2.0]}, "count a 8": {"s/image": 3.0}, "scorer b": {"s/image": 4.0}}
    scorers, counts, ratios = tables(rows, {"original / scorer a": 1.5}).split("\n\n")
    assert [line.split("|")[1].strip() for line in scorers.splitlines()[2:]] == ["a", "b"]
    assert "seconds" not in scorers
    assert "a 8" in counts
    assert "1.5" in ratios
    assert "ratio" not in tables(rows, {})
