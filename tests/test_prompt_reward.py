"""The reward for prompt rewriters, alone and inside TRL's own GRPO trainer, on tiny models."""

import json
import math
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate.state import AcceleratorState

from fergi_reward.callables.reward_output import RewardOutput
from fergi_reward.cli.app import run
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.seeds import seed_of
from fergi_reward.diffusion.rendering import render
from fergi_reward.prompt_reward import PromptReward
from fergi_reward.toy import tiny

ROOT = Path(__file__).parents[1]
QUICK = {"num_inference_steps": 2}


@pytest.fixture(scope="module")
def pipeline():
    return tiny.stable_diffusion()


class LengthReward:
    """The number of letters of the prompt that it is asked about, and the brightness as a term; it can be pickled."""

    def __call__(self, pixels, prompts):
        lengths = torch.tensor([float(len(prompt)) for prompt in prompts])
        return RewardOutput(lengths, {"brightness": pixels.mean((1, 2, 3))}, {}, {})


def brightness(pixels, prompts):
    return pixels.mean((1, 2, 3))


def message(text):
    return [{"role": "assistant", "content": text}]


@pytest.mark.parametrize("form", [str, message])
def test_it_scores_the_picture_of_the_completion_against_the_original(pipeline, form):
    originals, completions = ["a cat", "a house"], ["a red cat", "a blue house by a lake"]
    batch = {"prompts": ["rewrite"] * 2, "completions": [form(text) for text in completions]}
    reward = PromptReward(pipeline, LengthReward(), **QUICK)
    assert reward(**batch, original_prompt=originals) == [5.0, 7.0]
    own_words = PromptReward(pipeline, LengthReward(), score_against="completion", **QUICK)
    assert own_words(**batch) == [9.0, 22.0]
    other_name = PromptReward(pipeline, LengthReward(), original_column="wish", **QUICK)
    assert other_name(**batch, wish=originals) == [5.0, 7.0]


def test_the_reward_is_the_mean_over_renderings_from_noise_of_the_step(pipeline):
    texts = ["a red cat", "a house"]
    reward = PromptReward(pipeline, brightness, renderings=2, seed=7, batch_size=3, **QUICK)
    state = SimpleNamespace(global_step=5)
    got = reward(texts, texts, original_prompt=texts, trainer_state=state)
    seeds = [seed_of(7, "rendering", 5, number) for number in range(2)]
    expected = [render(pipeline, [text] * 2, seeds, **QUICK).mean().item() for text in texts]
    assert got == pytest.approx(expected, abs=1e-4)
    later = reward(texts, texts, original_prompt=texts, trainer_state=SimpleNamespace(global_step=6))
    assert later != pytest.approx(got, abs=1e-4)


class Moody:
    """A pipeline that cannot draw green things, and draws blue ones as NaN."""

    def __init__(self, pipeline):
        self.pipeline = pipeline

    def set_progress_bar_config(self, disable):
        self.pipeline.set_progress_bar_config(disable=disable)

    def __call__(self, prompt, generator, output_type, num_inference_steps):
        if any("green" in prompt for prompt in prompt):
            raise RuntimeError("no green today")
        output = self.pipeline(
            prompt, generator=generator, output_type=output_type, num_inference_steps=num_inference_steps
        )
        output.images[["blue" in prompt for prompt in prompt]] = torch.nan
        return output


def test_a_completion_without_a_picture_gets_none_and_the_others_their_reward(pipeline):
    completions = ["a red cat", "", "a green cat", "a blue cat", "  ", "a cat"]
    logged, columns = {}, {}
    with pytest.warns(UserWarning) as warned:
        got = PromptReward(Moody(pipeline), LengthReward(), **QUICK)(
            completions,
            [message(text) for text in completions],
            original_prompt=["a cat on a chair"] * 6,
            log_metric=logged.__setitem__,
            log_extra=columns.__setitem__,
        )
    assert got == [16.0, None, None, None, None, 16.0]
    texts = [str(one.message) for one in warned]
    assert "2 of 6 completions are empty and get no reward" in texts
    assert "cannot draw 'a green cat', which gets no reward: RuntimeError('no green today')" in texts
    assert "the picture of 'a blue cat' is not finite, and gets no reward" in texts
    assert [value is None for value in columns["brightness"]] == [False, True, True, True, True, False]
    known = [value for value in columns["brightness"] if value is not None]
    assert logged == pytest.approx({"prompt_reward/brightness": sum(known) / 2, "prompt_reward/not_drawn": 4 / 6})


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_where_no_picture_of_the_first_batch_can_be_drawn_the_run_stops_and_says_why(pipeline):
    reward = PromptReward(Moody(pipeline), LengthReward(), **QUICK)
    wishes = {"original_prompt": ["a cat"] * 2}
    assert reward(["x"] * 2, [" ", ""], **wishes) == [None, None]
    with pytest.raises(FergiRewardError, match=r"none of the first 2 .* drawn \(RuntimeError\('no green today'\)\)"):
        reward(["x"] * 2, ["a green cat", "green"], **wishes)
    with pytest.raises(FergiRewardError, match="the pictures are not finite"):
        reward(["x"] * 2, ["a blue cat", ""], **wishes)
    assert reward(["x"] * 2, ["a red cat", "green"], **wishes) == [5.0, None]
    # A later batch may fail as a whole: the pipeline can draw.
    assert reward(["x"] * 2, ["a green cat", "green"], **wishes) == [None, None]


def test_it_can_be_pickled(pipeline):
    reward = PromptReward(pipeline, LengthReward(), **QUICK)
    copy = pickle.loads(pickle.dumps(reward))
    assert copy.__name__ == "prompt_reward"
    assert copy(["x"], ["a cat"], original_prompt=["a cat"]) == [5.0]


def test_mistakes(pipeline):
    with pytest.raises(FergiRewardError, match=r"no column 'original_prompt' .*\(it has wish\): add it"):
        PromptReward(pipeline, brightness)(["x"], ["a cat"], wish=["a cat"])
    with pytest.raises(FergiRewardError, match="score_against is 'both'"):
        PromptReward(pipeline, brightness, score_against="both")
    with pytest.raises(FergiRewardError, match="renderings is 0"):
        PromptReward(pipeline, brightness, renderings=0)
    with pytest.raises(FergiRewardError, match="takes no steps"):  # a mistake, and not a picture that failed
        PromptReward(pipeline, brightness, steps=2)(["x"], ["a cat"], original_prompt=["a cat"])


@pytest.fixture
def fresh_accelerator():
    """Accelerate keeps one state a process."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


SMALL = {
    "max_steps": 2,
    "per_device_train_batch_size": 4,
    "num_generations": 4,
    "max_completion_length": 6,
    "logging_steps": 1,
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "seed": 3,
}


def test_trl_trains_on_it_and_leaves_none_out(pipeline, rewriter, tmp_path, fresh_accelerator):
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    given = []

    class Watched(PromptReward):
        def __call__(self, prompts, completions, **columns):
            rewards = super().__call__(prompts, completions, **columns)
            given.append(rewards)
            return rewards

    dataset = Dataset.from_list([{"prompt": "a cat", "original_prompt": "a cat"}] * 2)  # the plain format
    config = GRPOConfig(output_dir=str(tmp_path), log_completions=False, **{**SMALL, "learning_rate": 1e-2})
    reward = Watched(Moody(pipeline), brightness, **QUICK)
    trainer = GRPOTrainer(str(rewriter), reward, config, dataset)
    before = trainer.model.model.layers[0].mlp.up_proj.weight.detach().clone()
    with pytest.warns(UserWarning, match="gets no reward"):
        trainer.train()
    logs = [line for line in trainer.state.log_history if "loss" in line]
    assert len(logs) == len(given) == 2
    assert any(value is None for rewards in given for value in rewards)
    for line, rewards in zip(logs, given, strict=True):
        known = [value for value in rewards if value is not None]
        assert math.isfinite(line["loss"])
        assert line["rewards/prompt_reward/mean"] == pytest.approx(sum(known) / len(known), rel=1e-4)
        assert line["prompt_reward/not_drawn"] == pytest.approx(1 - len(known) / 4)
    assert (trainer.model.model.layers[0].mlp.up_proj.weight != before).any()


def program(*arguments):
    run(["train", "prompt_grpo", *map(str, arguments)])


def test_the_program(rewriter, tmp_path, fresh_accelerator, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    small = [
        text for name, value in {**SMALL, "gradient_accumulation_steps": 1}.items() for text in (f"--{name}", value)
    ]
    options = ["--model", "tiny", "--rewriter", rewriter, "--prompts", "configs/prompts/tiny.txt", "--render_steps", 2]
    config = ["--config", "configs/prompt_grpo_qwen_sd15.yaml"]
    program(*config, *options, *small, "--output_dir", tmp_path, "--save_steps", 2, "--log_completions", False)
    state = json.loads((tmp_path / "checkpoint-2" / "trainer_state.json").read_text())
    assert math.isfinite(state["log_history"][0]["prompt_reward/pickscore"])
    assert math.isfinite(state["log_history"][0]["rewards/prompt_reward/mean"])
    assert (tmp_path / "adapter_model.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--renderings", 0], "renderings is 0, must be at least 1"),
        (["--num_generation", 4], "did you mean 'num_generations'"),
        (["--num_generations", 1], "at least 2 generations"),
        (["--prompts", "nowhere.txt"], "nowhere.txt cannot be read"),
        (["--rewriter", "configs"], "cannot train the rewriter 'configs'"),
    ],
)
def test_mistakes_of_the_program(arguments, problem, monkeypatch, fresh_accelerator):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    with pytest.raises(FergiRewardError, match=problem):
        program(
            "--model", "tiny", "--prompts", "configs/prompts/tiny.txt", "--use_cpu", True, "--bf16", False, *arguments
        )
