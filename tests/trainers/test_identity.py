"""A run knows what it trains on: it resumes with the same, or says what is another."""

import json
import shutil
from copy import deepcopy
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import datasets
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from fergi_reward.calibration.calibration import Calibration
from fergi_reward.callables.code_digests import code_digest
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.evaluation.compared_model import read_card, tuned_model
from fergi_reward.reward import CombinedReward
from fergi_reward.toy import tiny
from fergi_reward.trainers.flow_grpo import FlowGRPOTrainer
from fergi_reward.trainers.identity import (
    Part,
    as_record,
    changes,
    check_changes,
    identity_of,
    model_part,
    pairs_part,
)
from fergi_reward.trainers.lora import save_lora
from fergi_reward.trainers.nft import NFTTrainer
from fergi_reward.trainers.pairs import PairTable

ADAPTER = "pytorch_lora_weights.safetensors"


def greenness(pixels, prompts):
    return pixels[:, 1].mean((1, 2))


def known(name, weights=0.0):
    """A reward of one term that tells its digest, as a `CombinedReward` does."""

    class Known:
        names = (name,)

        def __call__(self, pixels, prompts):
            return SimpleNamespace(total=pixels[:, 0].mean((1, 2)), terms={name: pixels[:, 0].mean((1, 2))})

        def describe(self):
            told = {"terms": {name: {"weight": 1.0}}, "uncertainty_penalty": 0.0, "reaction": {"mode": "none"}}
            return {**told, "calibration": {"protocol": "by hand"}}

        def fingerprints(self):
            return {name: str(weights), "calibration": "0"}

    return Known()


@pytest.fixture(scope="module")
def trained(ddpo_trainer, tmp_path_factory):
    """A trainer that has run two epochs."""
    trainer = ddpo_trainer(
        tiny.stable_diffusion(), tmp_path_factory.mktemp("trained") / "run", num_epochs=2, save_freq=1
    )
    trainer.train()
    return trainer


@pytest.fixture
def first(trained, tmp_path):
    """The run folder of that trainer, copied: tests change what is in it and continue there."""
    return Path(shutil.copytree(trained.loop.run.folder, tmp_path / "run"))


def resumed(trainer_of, folder, reward=None, **options):
    more = {} if reward is None else {"reward": reward}
    options = {"num_epochs": 3, "resume_from": str(folder), "save_freq": 1, **options}
    return trainer_of(pipeline=options.pop("pipeline", None) or tiny.stable_diffusion(), **more, **options)


def test_another_reward_is_refused_by_name_with_both_values(trainer_of, first):
    with pytest.raises(FergiRewardError, match=r"reward was redness.*, now greenness.*--allow-changes reward"):
        resumed(trainer_of, first, greenness).train()


def test_other_prompts_and_judges_are_refused_together(trainer_of, first):
    trainer = resumed(trainer_of, first, judges={"green": greenness})
    trainer.loop.prompts[:] = ["a green dog"]
    with pytest.raises(FergiRewardError) as refused:
        trainer.train()
    assert "prompts was 2 prompts (" in str(refused.value)
    assert "judges was none (" in str(refused.value)
    assert "--allow-changes judges,prompts" in str(refused.value)


def test_another_model_of_the_same_shapes_is_refused(trainer_of, first):
    with pytest.raises(FergiRewardError, match=r"model was StableDiffusionPipeline .*, now StableDiff"):
        resumed(trainer_of, first, pipeline=tiny.stable_diffusion(seed=1)).train()


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_one_changed_weight_of_any_part_is_another_model(part, pipeline):
    before = model_part(pipeline)
    next(getattr(pipeline, part).parameters()).data.view(-1)[0] += 1e-3
    assert model_part(pipeline).digest != before.digest


def test_another_schedule_is_another_model(pipeline):
    before = model_part(pipeline)
    pipeline.scheduler.register_to_config(prediction_type="v_prediction")
    assert model_part(pipeline).digest != before.digest


def test_a_new_calibration_or_overwritten_weights_of_a_scorer_are_seen(trainer_of):
    scorers = [tiny.image_reward(), tiny.pickscore(), tiny.hps()]
    parts = trainer_of(CombinedReward(scorers, Calibration.shipped())).loop.saving.identity
    assert set(parts) == {"model", "prompts", "judges", "reward", "calibration"}
    next(scorers[0].parameters()).data += 0.1
    other = trainer_of(
        CombinedReward(scorers, Calibration.shipped()), pipeline=tiny.stable_diffusion()
    ).loop.saving.identity
    assert {name for name in parts if parts[name] != other[name]} == {"reward"}


def test_an_allowed_change_resumes_and_the_card_names_all_that_was_trained_on(trainer_of, tmp_path):
    trainer_of(known("pickscore"), num_epochs=2, save_freq=1).train()
    run = tmp_path / "run"
    second = resumed(trainer_of, run, known("hps_v2"), num_epochs=4, allow_changes="reward")
    folder = second.train()
    card = json.loads((folder / "README.md").read_text().split("```json\n")[1].split("```")[0])
    assert (list(card["terms"]), card["epochs"]) == (["hps_v2"], [3, 4])
    assert [(list(one["terms"]), one["epochs"]) for one in card["before"]] == [(["pickscore"], [1, 2])]
    assert set(read_card(folder).terms) == {"pickscore", "hps_v2"}
    # Resumed once more with the same reward it is still known.
    folder = resumed(trainer_of, run, known("hps_v2"), num_epochs=5).train()
    assert set(tuned_model(str(folder), None).trained_on) == {"pickscore", "hps_v2"}


def test_what_a_card_does_not_know_is_added_to_what_it_knows(trainer_of, tmp_path):
    trainer_of(known("pickscore"), num_epochs=1).train()
    folder = resumed(trainer_of, tmp_path / "run", num_epochs=2, allow_changes="reward,calibration").train()
    assert tuned_model(str(folder), None).trained_on is None
    assert set(tuned_model(str(folder), ("clip",)).trained_on) == {"pickscore", "clip"}


def test_rewards_that_another_reward_gave_are_forgotten(trainer_of, first):
    def a_hundred_more(pixels, prompts):
        return 100 + pixels[:, 0].mean((1, 2))

    trainer = resumed(trainer_of, first, a_hundred_more, allow_changes="reward")
    trainer.train()
    assert all(reward > 50 for rewards in trainer.tracker.state_dict().values() for reward in rewards)


def brighter_than(least, scale=1.0):
    return lambda pixels, prompts: scale * (pixels > least).float().mean((1, 2, 3))


class Brightness:
    def __init__(self, scale):
        self.scale, self.cache = scale, object()

    def __call__(self, pixels, prompts):
        return self.scale * pixels.mean((1, 2, 3))


def defined(body, **known):
    """A function of one name, whatever it does."""
    namespace = {"__name__": "mine", **known}
    exec(f"def score(pixels, prompts):\n    return {body}", namespace)
    return namespace["score"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (defined("pixels.mean()"), defined("pixels.sum()")),
        (defined("pixels * 1"), defined("pixels * 2")),
        (defined("pixels * SCALE", SCALE=1), defined("pixels * SCALE", SCALE=2)),
        (defined("[p in {'a', 'b'} for p in prompts]"), defined("[p in {'a', 'c'} for p in prompts]")),
        (brighter_than(0.5), brighter_than(0.6)),
        (brighter_than(torch.zeros(1)), brighter_than(torch.ones(1))),
        (partial(greenness, prompts="a"), partial(greenness, prompts="b")),
        (Brightness(1.0), Brightness(2.0)),
        (Brightness(1.0).__call__, Brightness(2.0).__call__),
    ],
)
def test_a_callable_that_does_something_else_is_another_reward_whatever_its_name(one, other):
    digests = [
        identity_of(model=Part("", ""), prompts=[], judges={}, reward=it)["reward"].digest
        for it in (one, deepcopy(one), other)
    ]
    assert digests[0] == digests[1] != digests[2]


def test_a_helper_of_the_callable_is_part_of_it_and_recursion_ends():
    def helped(body):
        return defined("helper(pixels)", helper=defined(body))

    digests = {code_digest(helped(body)) for body in ("pixels.mean()", "pixels.sum()", "score(pixels, prompts)")}
    assert len(digests) == 3
    assert code_digest(len) != code_digest(sum)


@pytest.mark.parametrize(("value", "message"), [("rewrad", "allow_changes names rewrad"), ("reward", "without resume")])
def test_a_mistyped_change_is_refused(trainer_of, value, message):
    with pytest.raises(FergiRewardError, match=message):
        trainer_of(allow_changes=value)


def test_pairs_are_known_by_their_content_whatever_they_are_called():
    row = {"caption": "a cat", "jpg_0": b"0", "jpg_1": b"1", "label_0": 1}
    digest = pairs_part(PairTable([row, row], "pairs")).digest
    assert pairs_part(PairTable([dict(row), dict(row)], "moved")).digest == digest
    for change in ({"caption": "a dog"}, {"label_0": 0}, {"jpg_1": b"2"}, {"confidence": 0.9}):
        assert pairs_part(PairTable([row, row | change], "pairs")).digest != digest


@pytest.mark.parametrize("kept", [list, datasets.Dataset.from_list])
def test_one_picture_of_two_thousand_pairs_that_changes_is_refused_by_name(kept):
    rows = [{"caption": "a cat", "jpg_0": b"%d" % number, "jpg_1": b"1", "label_0": 1} for number in range(2000)]
    before = as_record({"pairs": pairs_part(PairTable(kept(rows), "pairs"))})
    rows[1501]["jpg_0"] = b"another"
    found = changes(before, {"pairs": pairs_part(PairTable(kept(rows), "pairs"))})
    with pytest.raises(FergiRewardError, match=r"pairs was pairs, 2000 rows .*, now pairs, 2000 rows"):
        check_changes("run", found, [])


def test_pairs_whose_pictures_are_files_or_decoded_are_known_by_these(tmp_path):
    def digest(picture):
        return pairs_part(PairTable([{"caption": "a", "jpg_0": picture, "jpg_1": None, "label_0": 1}], "pairs")).digest

    file, blank = tmp_path / "0.png", Image.new("L", (4, 2))
    blank.save(file)
    inside = digest(file.read_bytes())
    assert digest({"bytes": None, "path": str(file)}) == digest(file) == inside
    file.write_bytes(b"another")
    kinds = [str(file), tmp_path / "missing.png", blank, Image.new("L", (2, 4)), Image.new("L", (4, 2), 1), None]
    assert len({inside, *map(digest, kinds)}) == len(kinds) + 1


def test_the_same_pairs_streamed_are_others():
    table = datasets.Dataset.from_list([{"caption": "a cat", "jpg_0": b"0", "jpg_1": b"1", "label_0": 1}])
    whole, streamed = (pairs_part(PairTable(rows, "pairs")) for rows in (table, table.to_iterable_dataset()))
    found = changes(as_record({"pairs": whole}), {"pairs": streamed})
    with pytest.raises(FergiRewardError, match=r"pairs was pairs, 1 rows .*, now pairs, streamed"):
        check_changes("run", found, [])


def as_written_before_nft_had_a_trainer(checkpoint, objective):
    """Flow-GRPO's trainer and options of both, one of which named the objective."""
    file = checkpoint / "trainer_state.pt"
    state = torch.load(file, weights_only=True)
    own = {"nft_beta": 1.0, "nft_old_decay": 0.0, "train_clip_range": 1e-2, "sde_window_size": 0}
    others = {"sde_window_stride": 1, "sde_window_epochs": 1, "train_objective": objective}
    config = {**own, **others, **state["config"]}
    torch.save({**state, "old": state.get("old", []), "trainer": "FlowGRPOTrainer", "config": config}, file)


@pytest.mark.parametrize(("trainer", "objective"), [(FlowGRPOTrainer, "grpo"), (NFTTrainer, "nft")])
def test_a_checkpoint_of_when_one_trainer_had_two_objectives_resumes_with_the_right_one(
    flow_trainer_of, tmp_path, trainer, objective, capsys
):
    whole = flow_trainer_of(trainer=trainer, num_epochs=2, save_freq=1, output_dir=str(tmp_path / "whole"))
    whole.train()
    checkpoint = whole.loop.run.checkpoints.folder / "epoch_0001"
    as_written_before_nft_had_a_trainer(checkpoint, objective)
    capsys.readouterr()
    resumed = flow_trainer_of(trainer=trainer, num_epochs=2, resume_from=str(checkpoint))
    resumed.train()
    assert "resuming with changes" not in capsys.readouterr().out
    assert all(torch.equal(*pair) for pair in zip(whole.model.parameters, resumed.model.parameters, strict=True))
    other = {FlowGRPOTrainer: NFTTrainer, NFTTrainer: FlowGRPOTrainer}[trainer]
    again = {"output_dir": str(tmp_path / "other"), "resume_from": str(checkpoint)}
    with pytest.raises(FergiRewardError, match=f"was written by {trainer.__name__}, and this is {other.__name__}"):
        flow_trainer_of(trainer=other, num_epochs=2, **again).train()


def test_another_trainers_checkpoint_is_refused(backprop_trainer_of, first):
    trainer = backprop_trainer_of(pipeline=tiny.stable_diffusion(), num_epochs=3, resume_from=str(first))
    with pytest.raises(FergiRewardError, match="written by DDPOTrainer, and this is RewardBackpropTrainer"):
        trainer.train()


def test_another_rank_is_refused(trainer_of, first):
    with pytest.raises(FergiRewardError, match="as another run: lora_rank 4 -> 8"):
        resumed(trainer_of, first, lora_rank=8).train()


def edited(first, change):
    file = first / "checkpoints" / "epoch_0002" / ADAPTER
    tensors = load_file(file)
    change(tensors, sorted(tensors))
    save_file(tensors, file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors, names: tensors.pop(names[0]), "it lacks "),
        (lambda tensors, names: tensors.update(other=torch.zeros(1)), "it has besides other"),
        (lambda tensors, names: tensors.update({names[0]: torch.zeros(3, 3)}), "of another shape "),
        (lambda tensors, names: tensors[names[0]].fill_(torch.nan), "not finite "),
        (lambda tensors, names: tensors[names[0]].add_(1), "are not those that its trainer_state.pt belongs to"),
    ],
)
def test_an_adapter_that_is_not_that_of_the_optimiser_is_refused(trainer_of, first, change, message):
    edited(first, change)
    with pytest.raises(FergiRewardError, match=message):
        resumed(trainer_of, first).train()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state["config"].update(future_option=1), r"does not know \(future_option\)"),
        (lambda state: state.update(format=3), "has format 3, and this version reads 2"),
        (lambda state: state.pop("format"), "has format 1, and this version reads 2"),
        (lambda state: state.pop("identity"), "damaged .it lacks identity"),
        (lambda state: state.pop("stat_tracker"), "damaged .KeyError 'stat_tracker'"),
        (lambda state: state.update(optimizer=[]), "damaged .TypeError"),
        (lambda state: state["optimizer"]["state"].pop(0), "optimiser's state is of"),
    ],
)
def test_a_state_that_does_not_fit_is_one_sentence(trainer_of, first, change, message):
    file = first / "checkpoints" / "epoch_0002" / "trainer_state.pt"
    state = torch.load(file, weights_only=True)
    change(state)
    torch.save(state, file)
    with pytest.raises(FergiRewardError, match=message) as refused:
        resumed(trainer_of, first).train()
    assert "\n" not in str(refused.value)


def test_options_of_the_optimiser_that_changed_on_resume_take_effect(trainer_of, first, capsys):
    changed = {"train_learning_rate": 1e-9, "train_adam_beta1": 0.5, "train_adam_weight_decay": 0.0}
    trainer = resumed(trainer_of, first, **changed)
    before = load_file(first / "checkpoints" / "epoch_0002" / ADAPTER)
    trainer.train()
    assert "train_learning_rate 0.005 -> 1e-09" in capsys.readouterr().out
    after = load_file(trainer.loop.run.folder / "lora" / ADAPTER)
    assert max((after[name] - before[name]).abs().max() for name in before) < 1e-6
    assert trainer.loop.optimisation.optimizer.param_groups[0]["betas"] == (0.5, 0.999)


def test_equal_adapters_have_equal_bytes(trained, first, tmp_path):
    header = (first / "lora" / ADAPTER).read_bytes()
    length = int.from_bytes(header[:8], "little")
    (told,) = [text for text in json.loads(header[8 : 8 + length])["__metadata__"].values() if "target_modules" in text]
    modules = json.loads(told)
    (listed,) = [value for name, value in modules.items() if name.endswith("target_modules")]
    # The order of a set of strings is another in each process.
    assert listed == sorted(listed)
    # safetensors writes its metadata in another order each time.
    files = set()
    for number in range(8):
        save_lora(trained.model.pipeline, tmp_path / str(number))
        files.add((tmp_path / str(number) / ADAPTER).read_bytes())
    assert files == {header}
