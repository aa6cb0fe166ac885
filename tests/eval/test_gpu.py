"""The program that measures a GPU, as far as it goes without one."""

import pytest
import torch
from click.testing import CliRunner

from fergi_reward.scorers.registry import parameter_count
from fergi_reward.toy import tiny


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, which the program would measure")
def test_without_a_gpu_it_measures_nothing(tmp_path):
    from gpu import main

    result = CliRunner().invoke(main, ["--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "sees no CUDA GPU" in result.output
    assert not (tmp_path / "out").exists()


def test_what_was_not_measured_is_said():
    from gpu import goals

    lines = goals({"files pickscore": {"images/s": 512.3}}).splitlines()
    assert "| files pickscore, images/s | 500 | 512 |" in lines
    assert "| scorer hps_v2 bfloat16, images/s | 800 | not measured |" in lines


def test_files_are_scored_as_the_command_does_it():
    from gpu import files_row

    row = files_row(tiny.pickscore(), count=3, workers=2)
    assert row["images"] == 3
    assert min(row["images/s"], row["first run"], row["peak GB"]) > 0


def test_official_scorers_have_the_parameters_that_the_dry_run_counts():
    from official_models import SCORERS

    for name, make in SCORERS.items():
        with torch.device("meta"):
            parameters = sum(parameter.numel() for parameter in make().parameters())
        assert parameters / 1e6 == pytest.approx(parameter_count(name) / 1e6, rel=0.005), name


def test_drawn_weights_are_those_of_the_seed_and_keep_activations_in_range():
    from official_models import filled

    scores = [filled(tiny.clip(seed=seed), 5).score(torch.rand(2, 3, 32, 32), ["a", "b"]) for seed in (0, 1)]
    draws = [filled(tiny.clip(seed=seed), 5).state_dict() for seed in (0, 1)]
    assert all(torch.equal(draws[0][name], draws[1][name]) for name in draws[0])
    assert all(score.isfinite().all() and score.abs().max() <= 1 for score in scores)
