"""The program that measures memory and start-up, on toys: what it writes agrees with itself."""

import pytest

from fergi_reward.core.errors import FergiRewardError

IMPORTS = ["Python", "import fergi_reward", "import torch"]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("footprint") / "footprint.json"


@pytest.fixture(scope="module")
def scorer(run, out):
    """The rows of a scorer."""
    from footprint import main

    return run(main, out, "--images=9", "--only=pickscore")["rows"]


def test_every_stage_has_a_peak_and_importing_the_package_is_light(scorer):
    row = scorer["scorer pickscore float32"]
    stages = [*IMPORTS, "load", "first score", "batch 8", "9 images"]
    others = {"system load", "seconds", "s to the first", "peak", "load peak / checkpoint", "scoring peak - weights"}
    assert set(row) == {*stages, *others}
    assert row["peak"] == max(row[stage] for stage in stages)
    assert row["import fergi_reward"] < 0.05 < row["import torch"]
    assert abs(row["9 images"] - row["batch 8"]) < 0.05  # as much for more pictures


def test_a_trainer_is_added_and_nothing_is_measured_twice(run, out, scorer):
    from footprint import main

    found = run(main, out, "--images=9", "--only=pickscore", "--only=diffusion_dpo")["rows"]
    assert {key: found[key] for key in scorer} == scorer
    row = found["trainer diffusion_dpo"]
    assert {*IMPORTS, "load", "first epoch"} < row.keys()
    assert row["peak"] > 0.1  # torch alone takes more
    assert row["seconds"] == [row["s to the first"]]


def test_medians_and_ratios_of_stages_by_hand():
    from footprint import Stage, beyond_weights, ratios, row_of

    def process(load, score):
        return [Stage("load", load, 4.0, 1.5), Stage("first score", load + score, 3.0), Stage("batch 8", 99.0, 2.0)]

    ours = row_of([process(1.0, 1.0), process(2.0, 5.0), process(3.0, 2.0)])
    assert ours == {
        **{"seconds": [2.0, 7.0, 5.0], "s to the first": 5.0, "peak": 4.0},
        **{"load": 4.0, "first score": 3.0, "batch 8": 2.0},
    }
    found = [Stage("import torch", 0.5, 0.5), Stage("load", 1.0, 2.5, 1.5), Stage("batch 8", 1.5, 2.0)]
    assert beyond_weights(found, 4.0) == {"load peak / checkpoint": 0.5, "scoring peak - weights": 0.0}
    rows = {"scorer a float32": ours, "scorer a original": {"s to the first": 10.0, "peak": 5.0}, "scorer b x": ours}
    assert ratios(rows) == {
        "original / scorer a float32, s to the first": 2.0,
        "original / scorer a float32, peak": 1.25,
    }


def test_a_process_that_fails_is_one_sentence():
    from footprint import stages

    with pytest.raises(FergiRewardError, match=r"fresh_process\.py ended with status 1"):
        stages("flying")
