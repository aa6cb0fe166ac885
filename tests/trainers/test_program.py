"""The training programs as a user runs them."""

import io
import json
from pathlib import Path

import pandas as pd
import pytest
from accelerate.state import AcceleratorState
from PIL import Image

from fergi_reward.cli import app
from fergi_reward.toy.emoji.pictures import SCENES
from tests.command_line import invoke

ROOT = Path(__file__).parents[2]
PROGRAMS = {
    "ddpo": ["training/ddpo.py", "--config", "configs/ddpo_tiny.yaml"],
    "flow_grpo": ["training/flow_grpo.py", "--config", "configs/flow_grpo_tiny.yaml"],
    "reward_backprop": ["training/reward_backprop.py", "--config", "configs/reward_backprop_tiny.yaml"],
}
RUN = ["checkpoints", "grids", "logs", "lora", "metrics.jsonl"]
SMALL = ["--num_epochs", "2", "--sample_num_steps", "2", "--grid_num_images", "2"]
GUARDED = ["--judges", "clip", "--judge_num_images", "4", "--judge_freq", "1", "--uncertainty_penalty", "0.5"]


def batches_for(name, processes):
    """Eight images per update in batches of two, of one process or of two.

    The batches are the same, so that pictures are: scorers see 8 bits a pixel; float noise may turn the last of them.
    """
    batches = str(8 // 2 // processes)
    more = {
        "ddpo": ["--sample_batch_size", "2", "--sample_num_batches_per_epoch", batches],
        # More than two steps, of which some draw noise.
        "flow_grpo": [
            *("--sample_batch_size", "2", "--sample_num_batches_per_epoch", batches),
            *("--sample_group_size", "4", "--sample_num_steps", "4", "--picture_num_steps", "2"),
            # Else Adam makes whole steps of gradients that are nothing but rounding.
            *("--train_adam_epsilon", "1e-4"),
        ],
        "reward_backprop": ["--backprop_steps_max", "2"],
    }
    return ["--train_batch_size", "2", "--train_gradient_accumulation_steps", batches, *more[name]]


@pytest.fixture(scope="module", params=PROGRAMS)
def finished(request, tmp_path_factory):
    """A program's name, and the folder of a run of one process."""
    folder = tmp_path_factory.mktemp("run") / "one"
    options = [*SMALL, *GUARDED, *batches_for(request.param, 1), "--output_dir", str(folder)]
    arguments = [*PROGRAMS[request.param], *options]
    # In this process, which has imported everything already.
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        app.run(["train", request.param, *arguments[1:]])
    AcceleratorState._reset_state(reset_partial_state=True)
    return request.param, folder


def test_the_tiny_run_scaled_down(finished):
    _, folder = finished
    assert {path.name for path in folder.iterdir()} == {"best", *RUN}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A Parquet file of twelve pairs, one of them damaged."""
    rows = []
    for number in range(12):
        pictures = []
        for colour in ((220, 20 * number, 40), (40, 20 * number, 220)):
            file = io.BytesIO()
            Image.new("RGB", (32, 32), colour).save(file, "PNG")
            pictures.append(file.getvalue())
        rows.append(
            {"caption": SCENES[number].caption, "jpg_0": pictures[0], "jpg_1": pictures[1], "label_0": number % 2}
        )
    rows[1]["jpg_0"] = b"no picture"
    path = tmp_path_factory.mktemp("pairs") / "pairs.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return path


def test_diffusion_dpo_in_two_processes_does_what_one_does(pairs, forked, tmp_path):
    program = ["training/diffusion_dpo.py", "--config", "configs/diffusion_dpo_emoji.yaml", "--pairs", str(pairs)]
    options = ["--num_epochs", "1", "--train_updates_per_epoch", "3", "--judges", "image_reward", "--beta", "50"]
    options += ["--held_out", str(pairs), "--held_out_split", "train", "--judge_num_images", "2"]
    two = [*program, *options, "--train_batch_size", "2", "--output_dir", str(tmp_path / "two")]
    run = forked(two, 2, cwd=ROOT)
    assert run.wait() == 0, run.stderr
    assert "skipped 1 damaged" in run.stdout
    assert "4 per update, over 2 processes; each pair at 1 of" in run.stdout
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        one = [*program[1:], *options, "--train_batch_size", "4", "--output_dir", str(tmp_path / "one")]
        app.run(["train", "diffusion_dpo", *one])
    ours, theirs = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    for line in (*ours, *theirs):
        line.pop("seconds", None)
    assert len(ours) == len(theirs) == 2
    for one, two in zip(ours, theirs, strict=True):
        assert one == pytest.approx(two, rel=1e-3, abs=1e-5)


def test_two_processes_do_what_one_does(finished, forked, tmp_path):
    name, folder = finished
    arguments = [*PROGRAMS[name], *SMALL, *GUARDED, *batches_for(name, 2), "--output_dir", str(tmp_path / "two")]
    run = forked(arguments, 2, cwd=ROOT)
    assert run.wait() == 0, run.stderr
    assert "epoch 2/2: reward " in run.stdout
    assert run.stdout.count("per update, over 2 processes; ") == 1
    ours, theirs = (
        [json.loads(line) for line in (place / "metrics.jsonl").read_text().splitlines()]
        for place in (folder, tmp_path / "two")
    )
    for one, two in zip(ours, theirs, strict=True):
        for line in (one, two):
            line.pop("seconds", None)
        assert one == pytest.approx(two, rel=1e-4, abs=1e-6)
    # Before training, to the bit: both processes drew some of the judges' pictures, in the batches of one.
    assert ours[0] == theirs[0] and any(name.startswith("judges/clip") for name in ours[0])


@pytest.mark.parametrize(
    ("program", "arguments", "message"),
    [
        ("ddpo", ["--num_epoch", "3"], "error: unknown option 'num_epoch': did you mean 'num_epochs'?"),
        ("ddpo", ["--judges", "clip,pickscore"], "error: pickscore cannot judge what it rewards"),
        ("reward_backprop", ["--prompts", "nowhere.txt"], "error: nowhere.txt cannot be read"),
        ("diffusion_dpo", ["--beta", "0"], "error: beta is 0.0, must be above 0"),
        ("diffusion_dpo", ["--calibration", "mine.json"], "error: unknown option '--calibration'"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(program, arguments, message, forked):
    command = {**PROGRAMS, "diffusion_dpo": ["training/diffusion_dpo.py", "--model", "emoji"]}[program]
    run = forked([*command, *arguments], cwd=ROOT)
    assert run.wait() == 2
    assert run.stderr.startswith(message)
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("ddpo", ["--judge_freq", "3"], "judge_freq is 3 without judges: "),
        ("ddpo", ["--stop_when_judge_falls"], "stop_when_judge_falls is True without judges: "),
        ("diffusion_dpo", ["--held_out_freq", "2"], "held_out_freq is 2 without held_out: "),
        ("diffusion_dpo", ["--held_out_split", "x", "--judges", "clip"], "held_out_split is x without held_out: "),
    ],
)
def test_options_that_nothing_reads_are_refused_before_anything_is_loaded(name, given, message):
    refused = invoke(["train", name, "--model", "no/such/model", *given])
    assert refused.exit_code == 2
    assert f"{message}nothing reads it, leave it out" in refused.stderr
