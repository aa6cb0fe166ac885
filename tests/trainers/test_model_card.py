import json

import pytest
import torch
import yaml
from huggingface_hub import ModelCard

from fergi_reward.calibration.calibration import Calibration
from fergi_reward.diffusion.load import load_pipeline
from fergi_reward.reward import CombinedReward
from fergi_reward.toy import emoji, tiny
from fergi_reward.trainers.model_card import write_model_card
from fergi_reward.trainers.reward_backprop import RewardBackpropConfig
from fergi_reward.trainers.weights import attach


def part(text, language):
    return text.split(f"```{language}\n")[1].split("```")[0]


def test_the_hub_reads_what_the_card_says(tmp_path, pipeline):
    calibration = Calibration.shipped()
    reward = CombinedReward([tiny.image_reward(), "pickscore", tiny.hps()], calibration, uncertainty_penalty=0.5)
    config = RewardBackpropConfig(reward_margin=2.0)
    write_model_card(tmp_path, "RewardBackpropTrainer", config, [reward.describe()], pipeline)
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.library_name == "diffusers"
    assert "lora" in card.data.tags
    described = json.loads(part(card.text, "json"))
    assert described["calibration"]["dataset"] == calibration.dataset
    assert described["uncertainty_penalty"] == 0.5
    assert set(described["terms"]) == {"image_reward", "pickscore", "hps_v2"}
    assert RewardBackpropConfig(**yaml.safe_load(part(card.text, "yaml"))) == config
    licenses = card.text.split("## Licenses")[1].split("##")[0].split("\n\n")[2]
    assert licenses.splitlines() == [
        "- base model: not known here: see its page",
        "- published weights of pickscore: none stated (its code: MIT)",
        "- weights of image_reward, hps_v2: not loaded from where they were published: see where they come from",
        "- calibration: fitted on FERGI's data: MIT, and its authors ask that they are used for research",
    ]


def test_no_folder_of_whoever_trained_is_in_the_card(tmp_path, pipeline):
    pipeline.register_to_config(_name_or_path="/home/ann/sd15")
    config = RewardBackpropConfig(output_dir="/home/ann/run", resume_from="/home/ann/run/checkpoints/epoch_0001")
    stretch = {
        "calibration": {"command": "calibrate --data /home/ann/fergi"},
        "learned_from": {"model": "/home/ann/m (1)"},
    }
    write_model_card(tmp_path, "RewardBackpropTrainer", config, [stretch, stretch], pipeline)
    text = (tmp_path / "README.md").read_text()
    assert "ann" not in text
    for kept in ("resume_from: epoch_0001\n", 'from_pretrained("path/of/sd15")', "calibrate --data fergi", "m (1)"):
        assert kept in text


@pytest.mark.parametrize("model", ["emoji", "emoji_flow", "fergi_reward.toy.tiny:stable_diffusion"])
@pytest.mark.parametrize("full", [False, True], ids=["adapter", "network"])
def test_a_registered_model_is_loaded_by_its_name_and_the_code_of_the_card_runs(tmp_path, model, full):
    pipeline = load_pipeline(model)
    config = RewardBackpropConfig(full_finetuning=full)
    attach(pipeline, config, torch.device("cpu"), torch.float32).writer(True)(tmp_path)
    write_model_card(tmp_path, "RewardBackpropTrainer", config, [{"name": "a"}], pipeline)
    card = ModelCard.load(tmp_path / "README.md")
    code = part(card.text, "python")
    assert card.data.base_model == model and f'pipeline = load_pipeline("{model}")\n' in code
    names = {}
    exec(code.replace("path/of/this/folder", str(tmp_path)), names)
    assert type(names["pipeline"]) is type(pipeline)


@pytest.mark.parametrize("load", [emoji.load_pipeline, emoji.load_flow_pipeline])
def test_a_toy_that_its_function_loaded_is_called_by_its_name(tmp_path, load):
    write_model_card(tmp_path, "RewardBackpropTrainer", RewardBackpropConfig(), [{"name": "a"}], load())
    assert ModelCard.load(tmp_path / "README.md").data.base_model in emoji.MODELS


def test_a_folder_is_loaded_by_its_path_as_given(tmp_path, pipeline, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pipeline.save_pretrained("models/sd")
    loaded = load_pipeline("models/sd")
    write_model_card(tmp_path, "RewardBackpropTrainer", RewardBackpropConfig(), [{"name": "a"}], loaded)
    line = part(ModelCard.load(tmp_path / "README.md").text, "python").splitlines()[2]
    assert line == 'pipeline = DiffusionPipeline.from_pretrained("models/sd")'


def test_a_plain_callable_is_named(trainer_of):
    folder = trainer_of().train()
    assert "redness" in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    "name",
    ["a\n---\nlicense: mit", 'key: "value" # no', "- 'a': {b}", "\U0001f600 `x` $(y)", "\u202e\x00\x85end", "no", "1"],
)
def test_any_name_leaves_the_card_readable(tmp_path, pipeline, name):
    pipeline.register_to_config(_name_or_path=name)
    config = RewardBackpropConfig(output_dir=name, tracker_project_name=name)
    write_model_card(tmp_path, "RewardBackpropTrainer", config, [{"name": name}], pipeline)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(text.split("---\n")[1])
    assert set(front) == {"base_model", "library_name", "pipeline_tag", "tags"}
    assert front["base_model"] == "".join(letter if letter.isprintable() else " " for letter in name)
    assert ModelCard.load(tmp_path / "README.md").data.base_model == front["base_model"]
    assert json.loads(part(text, "json")) == {"name": name}
    assert RewardBackpropConfig(**yaml.safe_load(part(text, "yaml"))) == config


@pytest.mark.parametrize(
    ("kind", "options", "line"),
    [
        (tiny.stable_diffusion_3, {"max_sequence_length": 16}, "max_sequence_length=16"),
        (tiny.stable_diffusion, {"max_sequence_length": 16, "resolution": 32}, "height=32, width=32"),
        (tiny.sana, {"resolution": 64}, "height=64, width=64, use_resolution_binning=False"),
    ],
)
def test_the_card_draws_as_was_trained(tmp_path, kind, options, line):
    """With what the pipeline takes, and it takes it."""
    pipeline = kind()
    write_model_card(tmp_path, "RewardBackpropTrainer", RewardBackpropConfig(**options), [{"name": "a"}], pipeline)
    (drawing,) = [text for text in (tmp_path / "README.md").read_text().splitlines() if text.startswith("picture = ")]
    assert drawing == f'picture = pipeline(prompt="a prompt", {line}).images[0]'
    exec(drawing.replace("pipeline(", "pipeline(num_inference_steps=1, "), {"pipeline": pipeline})
