"""The program that measures speed, on toys: what it writes agrees with itself. How fast anything is, is no test."""

import pytest

SCORERS = ("image_reward", "pickscore", "hps_v2")
DTYPES = ("float32", "bfloat16")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("throughput") / "throughput.json"


@pytest.fixture(scope="module")
def of_scorers(run, out):
    """What is measured without any trainer."""
    from throughput import main

    return run(main, out, "--images=2", "--only=scorers", "--only=combined")


@pytest.fixture(scope="module")
def measured(run, out, of_scorers):
    """The same and a trainer, from a second run on the same file."""
    from throughput import main

    return run(main, out, "--images=2", "--only=scorers", "--only=reward_backprop")


def test_precisions_of_a_scorer_differ_and_float32_not_from_itself(of_scorers):
    assert of_scorers["rows"]["scorer hps_v2 float32"]["|- float32|"] == 0
    assert 0 < of_scorers["rows"]["scorer hps_v2 bfloat16"]["|- float32|"] < 0.01


def test_the_combined_reward_is_compared_with_its_scorers(of_scorers):
    row = of_scorers["rows"]["combined all"]
    assert row["decoding / parts"] > 0
    assert row["whole / parts"] > 0


def test_a_second_run_measures_only_what_is_new(of_scorers, measured):
    assert measured["rows"].keys() - of_scorers["rows"].keys() == {"trainer reward_backprop"}
    assert {key: measured["rows"][key] for key in of_scorers["rows"]} == of_scorers["rows"]


def test_every_row_is_there_and_agrees_with_its_seconds(measured):
    scorers = [f"scorer {name} {dtype}" for name in SCORERS for dtype in DTYPES]
    four = [f"four-prompts image_reward {dtype}" for dtype in DTYPES]
    assert measured["rows"].keys() == {*scorers, *four, "combined all", "trainer reward_backprop"}
    for row in measured["rows"].values():
        assert len(row["seconds"]) == 2
        assert row["images/s"] == pytest.approx(row["images"] / row["seconds"][-1])
        assert row["images/s"] * row["s/image"] == pytest.approx(1)
    assert measured["rows"]["scorer hps_v2 float32"]["images"] == 2
    assert measured["machine"]["cores"]
    assert measured["versions"]["torch"]


def test_the_reward_is_part_of_an_epoch_and_its_scorers_are_part_of_the_reward(measured):
    row = measured["rows"]["trainer reward_backprop"]
    assert 0 < row["reward without its scorers"] < row["reward, forward"] < 1
    assert (row["images"], row["updates"]) == (64, 1)
    assert row["updates/s"] == pytest.approx(row["images/s"] / 64)


def test_both_pictures_of_a_pair_count(tmp_path):
    from toy_trainers import ToyRun

    of_pairs = ToyRun.prepared("diffusion_dpo", tmp_path, 1)
    assert (of_pairs.images, of_pairs.updates) == (2 * 2 * 64, 2)  # 2 updates of 64 pairs


def test_ratios_are_quotients_within_a_scorer():
    from throughput import ratios

    def row(seconds, image):
        return {"seconds": seconds, "s/image": image}

    rows = {"scorer image_reward float32": row([4.0, 2.0], 1.0), "scorer image_reward original": row([12.0, 3.0], 1.5)}
    rows |= {"four-prompts image_reward float32": row([6.0, 4.0], 2.0), "scorer hps_v2 float32": row([1.0, 1.0], 0.5)}
    assert ratios(rows) == {
        "original / scorer image_reward float32": 1.5,
        "original / scorer image_reward float32, first call": 3.0,
        "original / four-prompts image_reward float32": 3.0,  # 4 x 1.5 / 2
        "original / four-prompts image_reward float32, first call": 8.0,
    }
