import shutil
from pathlib import Path

import pytest
import torch
from transformers import CLIPModel

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.scorers.aesthetic import AestheticScorer
from fergi_reward.toy import tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The tiny CLIP as transformers saves it, and a head under the published names."""
    tiny.clip().model.save_pretrained(tmp_path)
    head = tiny.aesthetic().head.state_dict()
    torch.save({f"layers.{key}": value for key, value in head.items()}, tmp_path / "aesthetic-model.pth")
    return tmp_path


def test_the_score_is_the_linear_function_that_the_head_amounts_to(folder: Path) -> None:
    head = torch.load(folder / "aesthetic-model.pth")
    slope, offset = torch.eye(16), torch.zeros(16)
    for layer in (0, 2, 4, 6, 7):
        weight, bias = head[f"layers.{layer}.weight"], head[f"layers.{layer}.bias"]
        slope, offset = weight @ slope, weight @ offset + bias
    scorer = AestheticScorer.from_pretrained(folder)
    pixels = torch.rand(3, 3, 40, 32)
    embedded = CLIPModel.from_pretrained(folder).eval().get_image_features(scorer.transform(pixels)).pooler_output
    unit = embedded / embedded.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(scorer(pixels, "not read"), (unit @ slope.T + offset).squeeze(-1))


def test_the_prompt_is_not_read() -> None:
    scores = tiny.aesthetic().score(torch.rand(1, 3, 32, 32).expand(2, -1, -1, -1), ["a cat", "a dog"])
    assert scores[0] == scores[1]


def test_without_a_tower_in_the_folder_it_is_asked_of_the_hub(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    (folder / "model.safetensors").unlink()
    with pytest.raises(FergiRewardError, match="of openai/clip-vit-large-patch14 from the hub"):
        AestheticScorer.from_pretrained(folder)


def test_another_head_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "other")
    torch.save({"weight": torch.ones(1, 16), "bias": torch.ones(1)}, tmp_path / "other" / "aesthetic-model.pth")
    with pytest.raises(FergiRewardError, match=r"missing: 0\.bias.*unexpected: bias, weight"):
        AestheticScorer.from_pretrained(tmp_path / "other")
