"""The program that measures memory and start-up, on toys: what it writes agrees with itself."""

import pytest

from fergi_reward.core.errors import FergiRewardError

FAST = ["--scorers=pickscore", "--dtypes=float32", "--batches=1,2", "--images=4"]
IMPORTS = ["Python", "import fergi_reward", "import torch"]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("footprint") / "footprint.json"


@pytest.fixture(scope="module")
def scorer(run, out):
    """The rows of a scorer."""
    from footprint import main

    return run(main, out, *FAST, "--trainers=")["rows"]


@pytest.fixture(scope="module")
def measured(run, out, scorer):
    """These, and the row of a trainer: nothing is measured twice."""
    from footprint import main

    found = run(main, out, *FAST, "--trainers=diffusion_dpo")["rows"]
    assert {key: found[key] for key in scorer} == scorer
    assert out.with_suffix(".png").stat().st_size > 10_000
    return found


def test_every_stage_has_a_peak_and_importing_the_package_is_light(scorer):
    row = scorer["memory pickscore float32"]
    stages = [*IMPORTS, "load", "first score", "batch 1", "batch 2", "count 2", "count 4"]
    assert set(row) == {*stages, "system load", "peak", "load peak / checkpoint", "scoring peak - weights"}
    assert row["peak"] == max(row[stage] for stage in stages)
    assert row["import fergi_reward"] < 0.05 < row["import torch"]
    assert abs(row["count 4"] - row["count 2"]) < 0.05  # as much for more pictures


@pytest.mark.parametrize(
    ("key", "last"), [("start pickscore float32", "first score"), ("trainer diffusion_dpo", "first epoch")]
)
def test_the_stages_of_a_start_make_up_the_whole(measured, key, last):
    row = measured[key]
    stages = [row[stage] for stage in [*IMPORTS, "load", last]]
    assert min(stages) > 0
    assert sum(stages) == pytest.approx(row["total"])
    assert row["peak"] > 0.1  # torch alone takes more


def test_medians_and_ratios_of_stages_by_hand():
    from footprint import Stage, beyond_weights, memory_row, ratios, start_row

    def process(load, score):
        return [Stage("load", load, 4.0, 1.5), Stage("first score", load + score, 3.0)]

    ours = start_row([process(1.0, 1.0), process(2.0, 5.0), process(3.0, 2.0)])
    assert (ours["load"], ours["first score"], ours["total"], ours["peak"]) == (2.0, 2.0, 5.0, 4.0)
    found = [Stage("import torch", 0.5, 0.5), Stage("load", 1.0, 2.5, 1.5), Stage("batch 2", 1.5, 2.0)]
    assert beyond_weights(found, 4.0, "batch 2") == {"load peak / checkpoint": 0.5, "scoring peak - weights": 0.0}
    rows = {"start a float32": ours, "start a original": {"total": 10.0, "load": 9.0}, "start b float32": ours}
    rows |= {"memory a float32": memory_row(found), "memory a original": {"load": 1.0, "peak": 5.0}}
    assert ratios(rows) == {"original / start a float32": 2.0, "original / memory a float32": 2.0}


def test_a_process_that_fails_is_one_sentence():
    from footprint import stages

    with pytest.raises(FergiRewardError, match=r"fresh_process\.py ended with status 1"):
        stages("flying")
