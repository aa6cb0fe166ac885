from pathlib import Path

import pytest
import torch

from fergi_reward.calibration.calibration import Calibration
from fergi_reward.data.fergi import read_fergi
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.base import TowerScorer
from fergi_reward.scorers.checkpoints import read_weights
from fergi_reward.toy import emoji
from fergi_reward.toy.emoji.faults import FAULTS, with_faults
from fergi_reward.toy.emoji.pictures import HELD_OUT, compose_anywhere
from tests.command_line import invoke

CAPTIONS = [scene.caption for scene in HELD_OUT]
SEES = {"pickscore": ["faded", "garish", "blotched", "tinted"], "hps_v2": ["blurred", "torn"]}


@pytest.fixture(scope="module")
def scorers() -> dict[str, TowerScorer]:
    return {scorer.name: scorer for scorer in emoji.load_scorers()}


@pytest.fixture(scope="module")
def clean() -> torch.Tensor:
    return compose_anywhere(HELD_OUT, torch.Generator().manual_seed(0))


def spoilt(pixels: torch.Tensor, fault: str, strength: float = 0.7) -> torch.Tensor:
    kinds = torch.full((len(pixels),), list(FAULTS).index(fault))
    return with_faults(pixels, torch.full((len(pixels),), strength), kinds, torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", emoji.SCORERS)
def test_a_scorer_knows_which_caption_belongs_to_a_picture(
    name: str, scorers: dict[str, TowerScorer], clean: torch.Tensor
) -> None:
    own = scorers[name].score(clean, CAPTIONS, batch_size=32)
    others = scorers[name].score(clean, CAPTIONS[5:] + CAPTIONS[:5], batch_size=32)
    assert (own > others).float().mean() > 0.8


@pytest.mark.parametrize(("name", "fault"), [(name, fault) for name, faults in SEES.items() for fault in faults])
def test_a_scorer_sees_its_faults(name: str, fault: str, scorers: dict[str, TowerScorer], clean: torch.Tensor) -> None:
    ranked = scorers[name].score(clean, CAPTIONS) > scorers[name].score(spoilt(clean, fault), CAPTIONS)
    assert ranked.float().mean() > 0.8


def test_the_calibrated_reward_prefers_clean_pictures(scorers: dict[str, TowerScorer], clean: torch.Tensor) -> None:
    reward = CombinedReward(list(scorers.values()), Calibration.load(emoji.CALIBRATION))
    best = reward.score(clean, CAPTIONS).total.mean()
    assert all(best > reward.score(spoilt(clean, fault), CAPTIONS).total.mean() for fault in FAULTS)
    assert best > reward.score(clean, CAPTIONS[1:] + CAPTIONS[:1]).total.mean()


def test_checkpoints_have_the_official_names_and_are_small() -> None:
    folders = emoji.checkpoints()
    assert {"blip.text_encoder.encoder.layer.0.attention.self.query.weight", "mlp.layers.7.bias"} <= {
        *read_weights(folders["image_reward"] / "ImageReward.pt")
    }
    assert {"visual.proj", "token_embedding.weight"} <= {*read_weights(folders["hps_v2"] / "HPS_v2_compressed.pt")}
    assert sum(path.stat().st_size for path in emoji.DATA.rglob("*") if path.is_file()) < 20e6


def test_the_command_line_lets_viewers_look_at_emoji(tmp_path: Path) -> None:
    options = ["--emoji", "--out", str(tmp_path), "--participants", "3", "--sessions", "2"]
    result = invoke(["data", "simulate", *options])
    assert result.exit_code == 0, result.output
    images = read_fergi(tmp_path).images
    assert len(images) == 30
    assert images[list(emoji.SCORERS)].std().min() > 0
