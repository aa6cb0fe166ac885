import json

import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import ttest_rel

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.toy import tiny
from fergi_reward.trainers.guards import JudgeWatch, judge_metrics, judge_pictures
from fergi_reward.trainers.reward_backprop import RewardBackpropConfig, RewardBackpropTrainer
from tests.trainers.conftest import PROMPTS, SMALL


def greenness(pixels, prompts):
    """Falls as the pictures get red, which is what the runs below are rewarded for."""
    return pixels[:, 1:].mean((1, 2, 3)) - pixels[:, 0].mean((1, 2))


def adapter_in(folder):
    return load_file(folder / "pytorch_lora_weights.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_fall_is_measured_in_standard_errors_of_the_paired_differences():
    watch = JudgeWatch(patience=1, tolerance=2.0)
    assert watch.update(0, {"judge": [0.0, 10.0, 20.0, 30.0]})
    # Differences 1, 1, 1, -1: mean 0.5, standard deviation 1, standard error 0.5: one standard error.
    assert not watch.update(1, {"judge": [-1.0, 9.0, 19.0, 31.0]})
    assert not watch.fallen
    # Differences 2, 2, 2, 1.8: small compared with the spread of the pictures, and twenty standard errors and more.
    watch.update(2, {"judge": [-2.0, 8.0, 18.0, 28.2]})
    assert watch.fallen


def test_a_fall_that_is_certain_and_a_trifle_does_not_count():
    watch = JudgeWatch(patience=1, tolerance=2.0)
    watch.update(0, {"judge": [0.0, 10.0, 20.0, 30.0]})
    # A standard deviation is 11.18; all have lost 1.0, without any doubt.
    watch.update(1, {"judge": [-1.0, 9.0, 19.0, 29.0]})
    assert not watch.fallen and watch.fall.lost == pytest.approx(1 / 11.18, rel=1e-3)
    watch.update(2, {"judge": [-1.2, 8.8, 18.8, 28.8]})
    assert watch.fallen


def test_a_fall_has_the_interval_of_the_paired_t_test_and_few_prompts_must_fall_further():
    draws = torch.Generator().manual_seed(0)
    first, lost = torch.randn(4, generator=draws).double(), torch.tensor([0.2, 0.9, 0.3, 1.0]).double()
    watch = JudgeWatch(patience=1, tolerance=2.0)
    watch.update(0, {"judge": first.tolist()})
    watch.update(1, {"judge": (first - lost).tolist()})
    spread = first.std(correction=0).item()
    expected = ttest_rel(first.numpy(), (first - lost).numpy()).confidence_interval(0.95)
    assert [bound * spread for bound in watch.fall.ci95] == pytest.approx([expected.low, expected.high], abs=1e-6)
    # 2.97 standard errors: of many that is more than 2, of four differences it happens by chance as often as 1.9.
    assert not watch.fallen and "4 prompts, too few to be sure: give 20" in watch.fall.said("prompts")
    eight = JudgeWatch(patience=1, tolerance=2.0)
    eight.update(0, {"judge": first.tolist() * 2})
    eight.update(1, {"judge": (first - lost).tolist() * 2})
    assert eight.fallen


def test_patience_counts_falls_in_a_row():
    watch = JudgeWatch(patience=2, tolerance=0.0)
    for epoch, level in enumerate([5.0, 4.0, 6.0, 3.0]):
        watch.update(epoch, {"judge": [level, level + 1]})
        assert not watch.fallen
    assert watch.best_epoch == 2
    watch.update(4, {"judge": [4.0, 5.0]})
    assert watch.fallen


def test_judges_on_different_scales_weigh_the_same():
    watch = JudgeWatch(patience=1, tolerance=0.0)
    watch.update(0, {"small": [0.0, 0.01], "large": [0.0, 1000.0]})
    # The small one rises by four of its standard deviations (0.005), the large one falls by two of its (500).
    assert watch.update(1, {"small": [0.02, 0.03], "large": [-1000.0, 0.0]})


def test_a_restored_watch_continues_as_the_old_one():
    old, new = JudgeWatch(2, 1.0), JudgeWatch(2, 1.0)
    for epoch, level in enumerate([5.0, 4.0]):
        old.update(epoch, {"judge": [level, level + 1]})
    new.load_state_dict(old.state_dict())
    for watch in (old, new):
        watch.update(2, {"judge": [3.0, 4.5]})
    assert new.fallen == old.fallen is True
    assert new.best_epoch == 0


def test_judges_see_each_picture_with_its_prompt():
    def length(pixels, prompts):
        return torch.tensor([float(len(prompt)) for prompt in prompts])

    batches = [torch.full((2, 3, 4, 4), 0.25), torch.full((1, 3, 4, 4), 0.75)]
    scores = judge_pictures({"length": length}, lambda pixels, _: pixels.mean((1, 2, 3)), batches, ["a", "bb", "ccc"])
    assert scores == {"reward": [0.25, 0.25, 0.75], "length": [1.0, 2.0, 3.0]}
    assert judge_metrics(scores)["judges/length_mean"] == 2.0


def test_the_reward_itself_is_no_judge(trainer_of):
    with pytest.raises(FergiRewardError, match="other cannot judge what it rewards"):
        trainer_of(greenness, judges={"other": greenness})


def test_stopping_needs_a_judge(trainer_of):
    with pytest.raises(FergiRewardError, match="stop_when_judge_falls needs a judge"):
        trainer_of(stop_when_judge_falls=True)


JUDGED = {"save_freq": 1, "judge_freq": 1, "judge_num_images": 4}
GUARDED = {"num_epochs": 8, "judge_freq": 1, "judge_num_images": 4, "stop_when_judge_falls": True}
SIXTEEN = {"sample_batch_size": 16, "train_batch_size": 16, "sample_num_steps": 8, "sample_guidance_scale": 1.0}
SIXTEEN |= {"per_prompt_stat_tracking": False}


@pytest.mark.parametrize("kind", ["ddpo", "reward_backprop"])
def test_a_run_that_games_its_reward_is_ended_with_the_best_adapter(kind, trainer_of, backprop_trainer_of, capsys):
    # Fewer pictures show a policy gradient no way.
    build, options = {"ddpo": (trainer_of, SIXTEEN), "reward_backprop": (backprop_trainer_of, {})}[kind]
    options = {**GUARDED, **options, "train_learning_rate": 2e-2, "judge_tolerance": 1.0}
    trainer = build(judges={"green": greenness}, **options)
    untrained = [parameter.detach().clone() for parameter in trainer.model.parameters]
    folder = trainer.train()
    lines = [json.loads(line) for line in trainer.loop.run.metrics_file.read_text().splitlines()]
    assert 2 <= lines[-1]["epoch"] < 8
    assert lines[-1]["judges/reward_mean"] > lines[0]["judges/reward_mean"]
    assert lines[-1]["judges/green_mean"] < lines[0]["judges/green_mean"]
    best = max(lines, key=lambda line: line["judges/green_mean"])["epoch"]
    said = f"the judges have fallen since epoch {best}, whose weights are kept; their scores are "
    assert said in (printed := capsys.readouterr().out) and "4 pictures, too few to be sure" in printed
    assert same(adapter_in(folder), adapter_in(trainer.loop.run.folder / "best"))
    kept = all(torch.equal(*pair) for pair in zip(trainer.model.parameters, untrained, strict=True))
    assert kept == (best == 0)
    last = adapter_in(trainer.loop.run.checkpoints.folder / f"epoch_{lines[-1]['epoch']:04d}")
    assert not same(last, adapter_in(folder))


def test_a_run_whose_judges_are_content_is_not_ended(backprop_trainer_of):
    judges = {"less_green": lambda pixels, _: -greenness(pixels, _)}
    trainer = backprop_trainer_of(judges=judges, **{**GUARDED, "num_epochs": 4})
    folder = trainer.train()
    lines = [json.loads(line) for line in trainer.loop.run.metrics_file.read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(5))
    assert same(adapter_in(folder), adapter_in(trainer.loop.run.folder / "best"))


def test_a_resumed_run_remembers_its_judges_and_their_favourite(backprop_trainer_of, tmp_path):
    options = {**GUARDED, "train_learning_rate": 2e-2, "judge_tolerance": 1.0, "save_freq": 1}
    whole = backprop_trainer_of(judges={"green": greenness}, **options)
    folder = whole.train()
    options |= {
        "output_dir": str(tmp_path / "resumed"),
        "resume_from": str(whole.loop.run.checkpoints.folder / "epoch_0001"),
    }
    resumed = backprop_trainer_of(judges={"green": greenness}, pipeline=tiny.stable_diffusion(), **options)
    assert same(adapter_in(resumed.train()), adapter_in(folder))
    assert resumed.loop.judging.watch.state_dict() == whole.loop.judging.watch.state_dict()


@pytest.fixture(scope="module")
def judged(tmp_path_factory, redness):
    """The folder of a run whose judges have seen four pictures."""
    config = RewardBackpropConfig(output_dir=str(tmp_path_factory.mktemp("judged") / "run"), **{**SMALL, **JUDGED})
    RewardBackpropTrainer(config, redness, tiny.stable_diffusion(), PROMPTS, {"green": greenness}).train()
    return config.output_dir


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"judge_num_images": 2}, "judge_num_images 4 -> 2"),
        ({"seed": 43}, "seed 42 -> 43"),
        ({"sample_num_steps": 2}, "sample_num_steps 3 -> 2"),
        ({"sample_guidance_scale": 3.0}, "sample_guidance_scale 2.0 -> 3.0"),
    ],
    ids=lambda value: "".join(value) if isinstance(value, dict) else "",
)
def test_other_pictures_of_the_judges_start_their_watch_again(judged, backprop_trainer_of, options, said, capsys):
    again = {**JUDGED, "num_epochs": 2, "resume_from": judged, **options}
    resumed = backprop_trainer_of(judges={"green": greenness}, **again)
    resumed.train()
    printed = capsys.readouterr().out
    assert said in printed and "what the judges remembered is dropped" in printed
    watched = resumed.loop.judging.watch.state_dict()
    assert (len(watched["best"]), watched["best_epoch"]) == (options.get("judge_num_images", 4), 2)
