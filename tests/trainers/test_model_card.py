import json

import yaml
from huggingface_hub import ModelCard

from fergi_reward import tiny
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.reward import CombinedReward
from fergi_reward.trainers.model_card import write_model_card
from fergi_reward.trainers.reward_backprop import RewardBackpropConfig


def part(text, language):
    return text.split(f"```{language}\n")[1].split("```")[0]


def test_the_hub_reads_what_the_card_says(tmp_path, pipeline):
    calibration = Calibration.shipped()
    reward = CombinedReward([tiny.image_reward(), tiny.pickscore(), tiny.hps()], calibration, uncertainty_penalty=0.5)
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


def test_a_plain_callable_is_named(trainer_of):
    folder = trainer_of().train()
    assert "redness" in (folder / "README.md").read_text()
