"""Without a hub: where checkpoints are found on this machine, and the sentence where they are not."""

import shutil
from pathlib import Path

import pytest

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.scorers.aesthetic import AestheticScorer
from fergi_reward.scorers.image_reward import ImageRewardScorer
from fergi_reward.toy import emoji

TOY = emoji.checkpoints()["image_reward"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, which is offline, in an empty home."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / "hub"


def cached(cache: Path, repository: str, *names: str) -> None:
    """Files of the toy, as the hub's library caches a repository's main branch."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    for place, names_there in (("refs", ()), ("snapshots/1234", names)):
        (folder / place).mkdir(parents=True)
        for name in names_there:
            shutil.copy(TOY / name, folder / place)
    (folder / "refs" / "main").write_text("1234")


def without_vocabulary(folder: Path) -> Path:
    shutil.copytree(TOY, folder, ignore=shutil.ignore_patterns("vocab.txt"))
    return folder


@pytest.mark.parametrize("repository", ["bert-base-uncased", "google-bert/bert-base-uncased"])
def test_a_vocabulary_is_found_in_the_cache_under_either_name(cache: Path, tmp_path: Path, repository: str) -> None:
    cached(cache, repository, "vocab.txt")
    scorer = ImageRewardScorer.from_pretrained(without_vocabulary(tmp_path / "folder"))
    assert scorer.weights_digest() == ImageRewardScorer.from_pretrained(TOY).weights_digest()


def test_a_vocabulary_next_to_the_original_packages_files_is_found(cache: Path, tmp_path: Path) -> None:
    (tmp_path / ".cache" / "ImageReward").mkdir(parents=True)
    shutil.copy(TOY / "vocab.txt", tmp_path / ".cache" / "ImageReward")
    assert ImageRewardScorer.from_pretrained(without_vocabulary(tmp_path / "folder"))


def test_the_official_checkpoint_is_looked_for_under_its_new_owner_and_where_its_own_package_keeps_it(
    cache: Path, tmp_path: Path
) -> None:
    sizes = ImageRewardScorer._checkpoint()
    cached(cache, "zai-org/ImageReward", "med_config.json")
    (tmp_path / ".cache" / "ImageReward").mkdir(parents=True)
    shutil.copy(TOY / "ImageReward.pt", tmp_path / ".cache" / "ImageReward")
    assert sizes.file("med_config.json").read_bytes() == (TOY / "med_config.json").read_bytes()
    assert sizes.file("ImageReward.pt").parent == tmp_path / ".cache" / "ImageReward"


def test_what_is_nowhere_is_named_with_all_files_and_all_places(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(FergiRewardError) as caught:
        ImageRewardScorer.from_pretrained(without_vocabulary(tmp_path / "folder"))
    for part in ("vocab.txt", "HF_HUB_OFFLINE", "bert-base-uncased", "~/.cache/ImageReward", "med_config.json"):
        assert part in str(caught.value)
    with pytest.raises(FergiRewardError, match=r"image_reward=FOLDER`\); image_reward needs ImageReward\.pt and med"):
        ImageRewardScorer.from_pretrained()


def test_aesthetic_says_that_it_needs_clips_files_too(cache: Path, tmp_path: Path) -> None:
    for place in (None, tmp_path):
        with pytest.raises(FergiRewardError, match=r"aesthetic-model\.pth of .*model\.safetensors of openai/clip-vit"):
            AestheticScorer.from_pretrained(place)
