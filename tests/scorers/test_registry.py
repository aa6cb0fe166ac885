from pathlib import Path

import pytest
import torch

from fergi_reward.errors import FergiRewardError
from fergi_reward.scorers.registry import load_scorer, scorer_names


def test_a_scorer_comes_by_name_frozen_and_in_its_dtype(checkpoints: Path) -> None:
    scorer = load_scorer("pickscore", checkpoints / "pickscore", dtype=torch.bfloat16)
    assert scorer.name == "pickscore"
    assert not scorer.training
    assert not any(parameter.requires_grad for parameter in scorer.parameters())
    assert {tower.dtype for tower in scorer.towers()} == {torch.bfloat16}
    assert scorer.model.visual_projection.weight.dtype == torch.float32


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(FergiRewardError, match=r"no scorer 'pick': choose from .*pickscore"):
        load_scorer("pick")


def test_every_name_is_there() -> None:
    assert scorer_names() == ["image_reward", "pickscore", "hps_v2", "hps_v2.0", "hps_v2.1"]
