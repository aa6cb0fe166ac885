"""A guard in other people's loops, against a model of one number whose best value is known."""

import json
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from transformers import Trainer, TrainingArguments

from fergi_reward import CombinedReward
from fergi_reward.adapters import GuardCallback, RewardGuard
from fergi_reward.core.errors import FergiRewardError, FergiRewardWarning
from fergi_reward.images import to_picture
from fergi_reward.toy import tiny
from fergi_reward.trainers.guards import JudgeWatch

PROMPTS = ["a red cat", "a blue house", "a dog"]


def redness(pixels, prompts):
    return pixels[:, 0].mean((1, 2))


def moderate(pixels, prompts):
    """Likes pictures of a redness of 0.6 most."""
    return -((pixels[:, 0].mean((1, 2)) - 0.6) ** 2)


class Red(nn.Module):
    """A model that draws pictures of a redness, with a little noise from the seed."""

    def __init__(self, redness=0.1):
        super().__init__()
        self.redness = nn.Parameter(torch.tensor(redness))

    def draw(self, prompts, seeds):
        noise = [torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        pixels = 0.02 * torch.stack(noise)
        pixels[:, 0] += self.redness.detach()
        return pixels

    def forward(self, number):
        """A loss that falls as the pictures get redder: `number` is how much in a step of size 1."""
        return {"loss": -self.redness * number.mean()}


def guard(**options):
    return RewardGuard({"moderate": moderate}, PROMPTS, **{"reward": redness} | options)


def test_it_keeps_the_best_weights_and_stops_when_the_judges_have_fallen_twice():
    model = Red()
    watching = guard(reward=redness, parameters=[model.redness])
    verdicts = []
    for step in range(10):
        verdicts.append(watching.check(step, model.draw))
        if verdicts[-1].must_stop:
            break
        model.redness.data += 0.1
    # 0.1, 0.2, ... 0.6 is best at step 5; steps 6 and 7 are worse.
    assert [one.is_best for one in verdicts] == [True] * 6 + [False] * 2
    assert (verdicts[-1].step, verdicts[-1].best_step) == (7, 5)
    rewards = [one.metrics["judges/reward_mean"] for one in verdicts]
    assert rewards == sorted(rewards)
    watching.restore_best()
    assert model.redness.item() == pytest.approx(0.6)


def test_the_verdict_is_the_watch_s_on_the_scores_of_all_pictures():
    model, watch, watching = Red(), JudgeWatch(1, 1.0), guard(patience=1, tolerance=1.0, batch_size=2, seed=7)
    for step, level in enumerate([0.5, 0.7, 0.9, 0.55]):
        model.redness.data.fill_(level)
        scores = moderate(model.draw(PROMPTS, [7, 8, 9]), PROMPTS)
        is_best = watch.update(step, {"moderate": scores.tolist()})
        found = watching.check(step, model.draw)
        assert (found.is_best, found.must_stop, found.best_step) == (is_best, watch.fallen, watch.best_epoch)
        assert found.metrics["judges/moderate_mean"] == pytest.approx(scores.mean().item(), rel=1e-5)


def test_scores_of_a_host_that_draws_by_itself_get_the_same_verdicts():
    model, drawing, given = Red(), guard(patience=1), guard(patience=1)
    for step, level in enumerate([0.5, 0.6, 0.9]):
        model.redness.data.fill_(level)
        scores = moderate(model.draw(PROMPTS, [0, 1, 2]), PROMPTS)
        expected = drawing.check(step, model.draw)
        found = given.check_scores(step, {"moderate": scores.numpy(), "reward": [level] * 3})
        assert (found.is_best, found.must_stop) == (expected.is_best, expected.must_stop)
        assert found.metrics["judges/reward_mean"] == pytest.approx(level)
    assert found.must_stop


def given_twice(first, second):
    watching = guard()
    watching.check_scores(0, {"moderate": first})
    watching.check_scores(1, {"moderate": second})


def steps(*numbers):
    watching = guard()
    for number in numbers:
        watching.check(number, Red().draw)


def test_a_verdict_says_the_size_of_a_fall_and_why_it_stops():
    watching = guard(reward=redness)
    found = []
    for step, level in enumerate([0.5, 0.6, 0.61, 0.8, 0.9]):
        found.append(watching.check(step, Red(level).draw))
    assert [one.fall is None for one in found] == [True, True, False, False, False]
    assert found[1].reason == "the judges' scores are the best so far"
    assert [one.fall.counts for one in found[2:]] == [True, True, True]
    before, now = (moderate(Red(level).draw(PROMPTS, [0, 1, 2]), PROMPTS).double() for level in (0.6, 0.9))
    spread = moderate(Red(0.5).draw(PROMPTS, [0, 1, 2]), PROMPTS).double().std(correction=0)
    assert found[4].fall.lost == pytest.approx(((before - now).mean() / spread).item(), rel=1e-3)
    assert found[2].reason.endswith("fall 1 of 2 in a row")
    assert found[4].must_stop and found[4].reason.endswith("fall 3 in a row, stop")
    assert f"{found[4].fall.lost:.2f} standard deviations lower" in found[4].reason
    assert "3 prompts, too few to be sure: give 20) than at step 1" in found[4].reason


def test_pictures_of_a_prompt_are_no_independent_ones():
    """A prompt that fell, drawn sixteen times, is still one of two."""
    watching = guard(images_per_prompt=16, patience=1)
    watching.check_scores(0, {"moderate": [0.0, 2.0] * 16})
    found = watching.check_scores(1, {"moderate": [-2.0, 0.0] * 8 + [-0.1, 1.9] * 8})
    assert found.fall.units == 2 and not found.must_stop


def test_weights_of_the_first_check_are_restored_with_a_warning():
    model = Red(0.6)
    watching = guard(parameters=model)
    watching.check(0, model.draw)
    model.redness.data.fill_(0.9)
    watching.check(1, model.draw)
    with pytest.warns(FergiRewardWarning, match="liked step 0 best, their first check"):
        watching.restore_best()
    assert model.redness.item() == pytest.approx(0.6)


def test_parameters_that_do_not_train_are_noticed_and_nothing_is_said_to_be_restored():
    model = Red(0.6)
    clone = nn.Parameter(model.redness.detach().clone())
    watching = guard(parameters=[clone])
    watching.check(0, model.draw)
    model.redness.data.fill_(0.9)
    with pytest.warns(FergiRewardWarning, match="none of the parameters did since step 0: are these the ones"):
        watching.check(1, model.draw)
    with pytest.warns(FergiRewardWarning, match="nothing that trained was restored") as said:
        watching.restore_best()
    assert len(said) == 1 and model.redness.item() == pytest.approx(0.9)


def test_an_average_of_the_weights_may_be_what_is_kept_and_an_update_may_wait():
    model, average = Red(0.2), nn.Parameter(torch.tensor(0.2))
    watching = guard(parameters=[average])
    for step, level in enumerate([0.2, 0.2, 0.5, 0.6]):  # gradients are accumulated before step 2
        model.redness.data.fill_(level)
        average.data += 0.5 * (level - average.data)
        watching.check(step, model.draw)
    average.data.fill_(7)
    watching.restore_best()
    assert average.item() == pytest.approx(0.4750)


@pytest.mark.parametrize("keeps", [True, False])
def test_pictures_of_another_model_are_noticed_and_the_weights_stay(keeps):
    model, copy = Red(0.2), Red(0.2)
    watching = guard(parameters=[model.redness] if keeps else None)
    watching.check(0, copy.draw)
    for step in (1, 2):
        model.redness.data += 0.1
        with pytest.warns(FergiRewardWarning, match="every score is the same as at step 0: are the pictures drawn by"):
            watching.check(step, copy.draw)
    if keeps:
        with pytest.warns(FergiRewardWarning, match="same scores at all checks, so none was the best") as said:
            watching.restore_best()
        assert len(said) == 1 and model.redness.item() == pytest.approx(0.4)


@pytest.mark.parametrize("factor", [1.0, 3.7])
def test_a_judge_that_asks_the_reward_is_refused_by_its_scores(factor):
    watching = RewardGuard({"same": lambda *shown: factor * redness(*shown)}, PROMPTS, reward=redness)
    with pytest.raises(FergiRewardError, match="same cannot judge what it rewards: its scores of all 3 pictures"):
        watching.check(0, Red().draw)
    near = RewardGuard({"near": lambda *shown: factor * redness(*shown).round(decimals=3)}, PROMPTS, reward=redness)
    assert near.check(0, Red().draw).is_best


@pytest.mark.parametrize("judge", [lambda *shown: 1 - moderate(*shown).exp(), tiny.clip(seed=5)])
def test_a_judge_that_gives_a_term_of_the_reward_is_named(judge):
    """By twelve pictures; another scorer is none."""
    prompts = [f"{number} cats" for number in range(12)]
    reward = CombinedReward({"red": (redness, 1.0), "moderate": (moderate, 0.5)})
    watching = RewardGuard({"judge": judge}, prompts, reward=reward)

    def draw(_, seeds):
        noise = [torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack([one * (seed % 12) / 12 * 2 for one, seed in zip(noise, seeds, strict=True)]).clamp(max=1)

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        watching.check(0, draw)
        watching.check(1, lambda names, seeds: draw(names, [seed + 50 for seed in seeds]))
    found = [str(each.message) for each in said]
    if isinstance(judge, nn.Module):
        assert not found
    else:
        (told,) = found
        assert told.startswith("the judge judge gives what moderate gives, which is trained on")


def test_without_a_reward_nothing_shows_whether_a_judge_is_in_it_which_is_said_once():
    watching = guard(reward=None)
    with pytest.warns(FergiRewardWarning, match="given no reward, so that nothing shows"):
        watching.check(0, Red(0.5).draw)
    watching.check(1, Red(0.6).draw)
    guard(reward=None).check_scores(0, {"moderate": [1.0, 2.0, 2.5], "reward": [0.1, 0.5, 0.2]})


def test_a_judge_that_gives_all_pictures_the_same_score_is_named_and_likes_no_step_best():
    model = Red(0.2)
    watching = RewardGuard(
        {"flat": lambda pixels, prompts: [0.5] * len(pixels)}, PROMPTS, reward=redness, parameters=model
    )
    with pytest.warns(FergiRewardWarning, match="the judge flat gives all 3 pictures .* the same score, 0.5"):
        watching.check(0, model.draw)
    model.redness.data.fill_(0.9)
    watching.check(1, model.draw)
    with pytest.warns(FergiRewardWarning, match="same scores at all checks, so none was the best"):
        watching.restore_best()
    assert model.redness.item() == pytest.approx(0.9)


def test_pictures_of_pil_are_scored_as_they_are():
    model = Red(0.5)
    as_pictures = guard().check(0, lambda prompts, seeds: [to_picture(one) for one in model.draw(prompts, seeds)])
    expected = guard().check(0, model.draw)
    assert as_pictures.metrics["judges/moderate_mean"] == pytest.approx(
        expected.metrics["judges/moderate_mean"], abs=2e-3
    )


def test_diversity_is_the_mean_distance_of_the_pictures_of_a_prompt():
    scorer = tiny.clip()

    def draw(prompts, seeds):
        return torch.stack([torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(seed)) for seed in seeds])

    found = guard(images_per_prompt=3, diversity=scorer, batch_size=4).check(0, draw).metrics["judges/diversity"]
    unit = nn.functional.normalize(scorer.embed(draw(None, range(9)), "")[0].float(), dim=-1).view(3, 3, -1)
    cosines = torch.einsum("gad,gbd->gab", unit, unit)
    expected = ((9 - cosines.sum((1, 2))) / 6).mean().item()  # a picture is at distance 0 from itself
    assert found == pytest.approx(expected, abs=1e-5)
    with pytest.warns(FergiRewardWarning, match="all 6 pictures"):
        same = guard(images_per_prompt=2, diversity=scorer).check(0, lambda _, seeds: draw(_, [0] * len(seeds)))
    assert same.metrics["judges/diversity"] == pytest.approx(0, abs=1e-6)


def test_a_loop_that_resumes_gets_the_verdicts_of_the_unbroken_one():
    def verdicts(watching, model, levels, start=0):
        found = []
        for step, level in enumerate(levels, start):
            model.redness.data.fill_(level)
            found.append(watching.check(step, model.draw))
        return [(one.is_best, one.must_stop) for one in found]

    levels = [0.5, 0.6, 0.8, 0.9]
    whole = verdicts(guard(), Red(), levels)
    broken = guard()
    first = verdicts(broken, Red(), levels[:2])
    resumed = guard()
    resumed.load_state_dict(broken.state_dict())
    assert first + verdicts(resumed, Red(), levels[2:], 2) == whole
    assert whole[-1] == (False, True)


def test_a_state_from_before_the_first_check_is_resumed_and_other_shapes_are_refused():
    one, other = nn.Parameter(torch.ones(1, 4)), nn.Parameter(torch.ones(3, 4))
    new = guard(parameters=[one])
    new.load_state_dict(guard(parameters=[one]).state_dict())
    assert not new.keeps_weights
    new.check(0, Red().draw)
    with pytest.raises(FergiRewardError, match="shapes of parameters"):
        guard(parameters=[other]).load_state_dict(new.state_dict())
    one.data = torch.ones(3, 4)
    with pytest.raises(FergiRewardError, match="other shapes than when they were best"):
        new.restore_best()


def test_a_state_of_other_pictures_is_refused():
    old = guard()
    old.check(0, Red().draw)
    with pytest.raises(FergiRewardError, match="other judges, prompts"):
        guard(seed=1).load_state_dict(old.state_dict())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RewardGuard({}, PROMPTS), "there is no judge"),
        (lambda: RewardGuard([moderate], PROMPTS), "judges is a list, must be a mapping from names"),
        (lambda: RewardGuard({"clip": "clip"}, PROMPTS), "clip is a str: a judge is a scorer, or a function"),
        (lambda: guard(images_per_prompt=0), "images_per_prompt is 0, must be at least 1"),
        (lambda: guard(parameters=[]), "parameters has none that is trained"),
        (lambda: guard(parameters=Red().requires_grad_(False)), "parameters has none that is trained"),
        (lambda: guard().check(0, lambda prompts, seeds: torch.rand(3, 3, 4, 4)), "other pictures from the same"),
        (lambda: steps(3, 3), "step 3 is checked after step 3"),
        (lambda: steps(3, 2), "step 2 is checked after step 3: count on, or make a new guard"),
        (lambda: guard(images_per_prompt=2).check_scores(0, {"moderate": [1.0] * 5}), "5 scores, must be 5: .* 2 of"),
        (lambda: RewardGuard({"a": moderate}, "a cat"), "prompts is one text"),
        (lambda: RewardGuard({"a": moderate}, ["a cat"]), "there are 1 prompts, must be at least 2"),
        (lambda: RewardGuard({"a": moderate}, ["a cat", "a dog", "A  cat"]), r"has 'a cat' 2 times \(capitals"),
        (lambda: RewardGuard({"a": moderate}, ["a cat", "", " "]), "prompts has 2 that say nothing"),
        (lambda: RewardGuard({"a": moderate}, ["a cat", None]), "prompts has a NoneType, must be texts"),
        (lambda: guard(diversity=tiny.clip()), "images_per_prompt is 1, must be at least 2"),
        (lambda: guard(batch_size=0), "batch_size is 0"),
        (lambda: guard(patience=0, tolerance=float("nan")), "patience is 0, must be at least 1; tolerance is nan"),
        (lambda: guard(parameters=Red().named_parameters()), "parameters hold a tuple"),
        (lambda: guard().load_state_dict({"of": ""}), "lacks best, steps, watch"),
        (lambda: guard().check(0, lambda prompts, seeds: None), "draw gave a NoneType"),
        (lambda: guard().check(0, lambda prompts, seeds: [Image.new("RGB", (4, 4 + s)) for s in seeds]), "3 sizes"),
        (lambda: RewardGuard({"a": redness}, PROMPTS, reward=redness), "a cannot judge what it rewards"),
        (
            lambda: RewardGuard({"mine": moderate}, PROMPTS, reward=CombinedReward({"mine": (redness, 1.0)})),
            "mine cannot judge what it rewards",
        ),
        (lambda: guard().restore_best(), "no weights are kept"),
        (lambda: guard().check_scores(0, {"other": [1.0, 2.0]}), "no scores of moderate, got those of other"),
        (lambda: guard().check_scores(0, {"moderate": [1.0]}), "1 scores, must be 2"),
        (lambda: given_twice([1.0, 2.0, 3.0], [1.0, 2.0]), "2 scores, must be 3"),
        (lambda: given_twice([1.0, 2.0], [float("nan"), 2.0]), "not finite, at step 1"),
        (lambda: guard().check(0, lambda prompts, seeds: torch.rand(2, 3, 4, 4)), "2 pictures for 3 prompts"),
        (lambda: guard().check(0, lambda prompts, seeds: torch.full((3, 3, 4, 4), 2.0)), r"\[0, 1\]"),
        (
            lambda: RewardGuard({"a": lambda pixels, prompts: pixels[:, 0, 0, 0] / 0}, PROMPTS).check(0, Red().draw),
            "the judge a is .* for image 0 .* must be finite",
        ),
        (
            lambda: RewardGuard({"a": lambda pixels, prompts: pixels.mean()}, PROMPTS).check(0, Red().draw),
            r"the judge a's total has shape \(\)",
        ),
    ],
)
def test_mistakes_are_one_sentence(make, message):
    with pytest.raises(FergiRewardError, match=message):
        make()


def test_it_ends_a_trainer_of_transformers_and_returns_to_the_best_weights(tmp_path):
    model = Red()
    callback = GuardCallback(guard(parameters=[model.redness]), model.draw, every=2)
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=100,
        per_device_train_batch_size=1,
        learning_rate=0.1,
        lr_scheduler_type="constant",
        optim="sgd",
        max_grad_norm=0.0,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    rows = [{"number": torch.tensor(0.5)} for _ in range(100)]
    trainer = Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[callback])
    trainer.train()
    # 0.05 a step: 0.1, 0.2, ... at every second one; 0.6 after 10 steps; worse after 12 and 14.
    assert trainer.state.global_step == 14
    assert model.redness.item() == pytest.approx(0.6)
    logged = [line["judges/moderate_mean"] for line in trainer.state.log_history if "judges/moderate_mean" in line]
    assert len(logged) == len(callback.verdicts) == 8


def resumed(checkpoint, callback, model, folder):
    """The checks of a training of six steps that resumes after four, by their steps, as its history has them."""
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=6,
        per_device_train_batch_size=1,
        save_steps=4,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    rows = [{"number": torch.tensor(0.5)} for _ in range(8)]
    trainer = Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[callback])
    trainer.train(resume_from_checkpoint=checkpoint)
    return [line["step"] for line in trainer.state.log_history if "judges/moderate_mean" in line]


class Saving(GuardCallback):
    """Keeps the guard's state with each checkpoint."""

    def on_save(self, args, state, control, **kwargs):
        self.states = getattr(self, "states", {}) | {state.global_step: self.guard.state_dict()}


def test_a_resumed_trainer_checks_no_step_twice_if_the_guard_remembers(tmp_path):
    model = Red()
    first = Saving(guard(), model.draw, every=2)
    assert resumed(None, first, model, tmp_path) == [0, 2, 4, 6]
    remembering, new = (GuardCallback(guard(), model.draw, every=2) for _ in range(2))
    remembering.guard.load_state_dict(first.states[4])
    checkpoint = str(tmp_path / "checkpoint-4")
    assert resumed(checkpoint, remembering, model, tmp_path / "remembering") == [0, 2, 4, 6]
    assert [verdict.step for verdict in remembering.verdicts] == [6]
    # A new guard has nothing to compare with, and checks first.
    assert resumed(checkpoint, new, model, tmp_path / "new") == [0, 2, 4, 6]
    assert [verdict.step for verdict in new.verdicts] == [4, 6]


PROGRAM = """
import json, os, sys
from pathlib import Path
import torch
from test_reward_guard import Red, guard

torch.distributed.init_process_group("gloo")
model, drawn = Red(0.4), []
found = guard(batch_size=1).check(3, lambda *batch: drawn.append(batch[1]) or model.draw(*batch))
Path(f"{os.environ['RANK']}.json").write_text(json.dumps([found.metrics, drawn]))
"""


def test_two_processes_have_the_verdict_of_one(tmp_path, forked):
    """Each draws a part of the pictures."""
    expected = guard(batch_size=1).check(3, Red(0.4).draw)
    program = tmp_path / "program.py"
    program.write_text(f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n{PROGRAM}")
    run = forked([str(program)], 2, cwd=tmp_path)
    assert run.wait() == 0, run.stderr
    results = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert [drawn for _, drawn in results] == [[[0], [0], [2]], [[1], [1]]]  # the first one twice
    for metrics, _ in results:
        assert metrics == pytest.approx(expected.metrics)


def test_a_reason_names_the_judge_that_fell_and_says_the_same_of_the_same():
    trained = torch.zeros(1)
    watching = RewardGuard({"calm": moderate, "harsh": lambda *_: None}, PROMPTS, parameters=[trained])
    steady, best, worse = [0.5, 0.6, 0.8], [0.5, 0.7, 0.9], [0.1, 0.2, 0.3]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        watching.check_scores(0, {"calm": steady, "harsh": best})
    same = watching.check_scores(1, {"calm": steady, "harsh": best}).reason
    assert same == "the judges' scores are the same (3 prompts) as at step 0: no fall that counts"
    trained += 1
    reason = watching.check_scores(2, {"calm": steady, "harsh": worse}).reason
    assert "than at step 0, lower by harsh: fall 1 of 2 in a row" in reason
