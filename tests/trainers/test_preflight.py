"""A run that would go another way than its options say is refused before anything is loaded."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fergi_reward.cli.app import run
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.diffusion.rewards import load_reward
from fergi_reward.scorers.registry import load_scorer
from fergi_reward.toy import emoji
from fergi_reward.trainers import preflight
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.options import RewardTrainingOptions
from fergi_reward.trainers.preflight import check_can_start
from fergi_reward.trainers.program import load_judges
from fergi_reward.trainers.run import Run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def no_tracker(monkeypatch):
    monkeypatch.setitem(preflight.TRACKERS, "wandb", ("no-such-tracker",))


@pytest.mark.parametrize(
    ("variable", "value", "options", "said"),
    [
        ("ACCELERATE_MIXED_PRECISION", "bf16", {}, "mixed_precision bf16 .* is no: give both the same"),
        ("ACCELERATE_MIXED_PRECISION", "fp8", {"mixed_precision": "bf16"}, "mixed_precision fp8 .* is bf16"),
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4", {}, "gradient_accumulation_steps 4 .* is 1: give both"),
        ("ACCELERATE_USE_CPU", "1", {"mixed_precision": "fp16"}, "fp16, which needs a GPU"),
        ("ACCELERATE_USE_FSDP", "true", {}, "launched with FSDP .*: launch it without, and give --shard"),
        ("WORLD_SIZE", "2", {"num_processes": 4}, "num_processes is 4, but 2 processes were launched"),
        (
            "WORLD_SIZE",
            "2",
            {},
            "is 2, but RANK and MASTER_ADDR are not set: .* --nproc-per-node 2, or unset",
        ),
    ],
)
def test_a_launcher_or_a_device_that_contradicts_the_options_is_refused_by_name(
    monkeypatch, variable, value, options, said
):
    monkeypatch.setenv(variable, value)
    with pytest.raises(FergiRewardError, match=said):
        check_can_start(TrainerConfig(log_with="none", **options))


def test_a_launcher_that_says_the_same_changes_no_gradient(monkeypatch, tmp_path):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    options = {"mixed_precision": "bf16", "train_gradient_accumulation_steps": 4, "log_with": "none"}
    run = Run(TrainerConfig(output_dir=str(tmp_path), **options))
    assert run.accelerator.gradient_accumulation_steps == 1


def test_a_launcher_that_was_asked_nothing_contradicts_nothing(monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    check_can_start(TrainerConfig(log_with="none", mixed_precision="bf16"))


@pytest.mark.parametrize("program", ["ddpo", "diffusion_dpo"])
def test_a_tracker_that_is_not_installed_is_refused_before_the_model_is_loaded(
    no_tracker, monkeypatch, tmp_path, program
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no-such-tracker").mkdir()  # as wandb leaves a folder of its name
    arguments = ["--model", "no/such-model", "--log_with", "wandb", "--prompts", f"{ROOT}/configs/prompts/everyday.txt"]
    with pytest.raises(FergiRewardError, match="log_with is wandb, but the package no-such-tracker is not installed"):
        run(["train", program, *arguments])
    assert [path.name for path in tmp_path.iterdir()] == ["no-such-tracker"]


def test_a_tracker_gets_the_model_the_reward_the_prompts_and_the_pictures(backprop_trainer_of):
    reader = "tensorboard.backend.event_processing.event_accumulator"
    events_of = pytest.importorskip(reader, reason="tensorboard reads the logs, which tensorboardX writes, too")
    trainer = backprop_trainer_of(log_with="tensorboard", grid_num_images=2)
    trainer.train()
    logs = trainer.loop.run.folder / "logs"
    seen = [events_of.EventAccumulator(str(path.parent)).Reload() for path in logs.rglob("events.out*")]
    pictures = [event.step for events in seen if "grid" in events.Tags()["images"] for event in events.Images("grid")]
    assert pictures == [0, 1]
    (options,) = (path.read_text() for path in logs.rglob("hparams.yml"))
    assert 'learned_from: \'{"name"' in options and "prompts: 2 prompts, SHA-256 " in options
    assert "model: StableDiffusionPipeline, SHA-256 " in options and "processor: " in options


@pytest.mark.parametrize("program", ["reward_backprop", "diffusion_dpo"])
def test_scorers_cannot_wait_on_the_cpu_where_there_are_none_but_those_of_a_gradient(monkeypatch, program):
    monkeypatch.chdir(ROOT)
    with pytest.raises(FergiRewardError, match="offload_scorers is on, but there is no scorer to park"):
        run(["train", program, "--model", "no/such", "--offload-scorers"])


def test_a_device_for_scorers_must_exist_and_be_of_use(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(FergiRewardError, match="reward_device is 'gpu7', must be cpu, mps, cuda"):
        run(["train", "ddpo", "--config", "ddpo_tiny", "--reward-device", "gpu7"])
    with pytest.raises(FergiRewardError, match="reward_device is cpu, but there is no scorer to put there"):
        run(["train", "diffusion_dpo", "--model", "no/such", "--reward-device", "cpu"])


def test_a_parked_judge_is_known_and_scores_as_one_that_is_not():
    plain = RewardTrainingOptions(model="tiny", judges=["clip"], scorer_dtype="bfloat16")
    judge, parked = (load_judges(script, None)["clip"] for script in (plain, replace(plain, offload_scorers=True)))
    pixels, prompts = torch.rand(2, 3, 32, 32).requires_grad_(), ["a cat", "a dog"]
    scores = parked(pixels, prompts)
    with torch.no_grad():  # in bfloat16 some kernels of PyTorch 2.11 round otherwise where gradients are asked for
        expected = judge(pixels, prompts)
    assert torch.equal(scores, expected) and not scores.requires_grad
    assert parked.weights_digest() == judge.weights_digest()


def test_a_checkpoint_is_a_judge_in_place_of_the_toys_own():
    place = emoji.checkpoints()["pickscore"]
    named = RewardTrainingOptions(model="tiny", judges=["pickscore"], checkpoints={"pickscore": str(place)})
    judge, own = (load_judges(one, None)["pickscore"] for one in (named, replace(named, checkpoints=None)))
    assert judge.weights_digest() == load_scorer("pickscore", place).weights_digest() != own.weights_digest()


def test_reward_and_judges_are_loaded_in_the_dtype_of_scorers():
    script = RewardTrainingOptions(model="tiny", scorers=["pickscore"], judges=["clip"], scorer_dtype="bfloat16")
    reward = load_reward(script)
    for scorer in (*reward.scorers, *load_judges(script, reward).values()):
        assert next(scorer.towers()[0].parameters()).dtype == torch.bfloat16
