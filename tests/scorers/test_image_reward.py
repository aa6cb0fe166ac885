import json
import random
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.images import CLIP_MEAN, CLIP_STD, open_picture, to_pixels
from fergi_reward.scorers.checkpoints import read_weights
from fergi_reward.scorers.image_reward import ImageRewardScorer, _renamed, official_key
from fergi_reward.scorers.registry import load_scorer
from fergi_reward.toy import emoji, tiny

pytestmark = pytest.mark.filterwarnings("ignore:ImageReward reads 35 tokens")


@pytest.fixture(scope="module")
def scorer(checkpoints: Path) -> ImageRewardScorer:
    return ImageRewardScorer.from_pretrained(checkpoints / "image_reward")


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_the_original_scores_in_any_batch_and_order(scorer, cases, golden, batch_size: int) -> None:
    rows = list(zip(cases, golden["image_reward"], strict=True))
    random.Random(batch_size).shuffle(rows)
    scores = scorer.score([path for (_, path, _), _ in rows], [text for (*_, text), _ in rows], batch_size=batch_size)
    torch.testing.assert_close(scores, torch.tensor([value for _, value in rows]), rtol=0, atol=2e-5)


def test_the_original_scores_one_by_one(scorer, cases, golden) -> None:
    for (_, path, prompt), expected in zip(cases, golden["image_reward"], strict=True):
        assert scorer.score(path, prompt).item() == pytest.approx(expected, abs=2e-5)


def test_the_original_tokens(scorer, reference: Path, cases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer, "full_length", True)
    stored = json.loads((reference / "golden.json").read_text())["image_reward"]["tokens"]
    for name, _, prompt in cases:
        tokens, counted = scorer.encode_prompts([prompt])[0].tolist()
        assert tokens == stored[name]["input_ids"]
        assert sum(counted) == stored[name]["n_real"]


def test_pixels_score_like_the_picture(scorer, cases) -> None:
    """But for Pillow's last bit; not with alpha, by which Pillow weighs colours. The golden scores spread by 1."""
    for _, path, prompt in cases:
        picture = open_picture(path)
        if picture.mode == "RGBA":
            continue
        bound = 2e-5 if picture.size == (224, 224) else 0.001
        pixels = to_pixels(picture.convert("RGB"))[None]
        assert scorer(pixels, prompt).item() == pytest.approx(scorer.score(path, prompt).item(), abs=bound)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "L", "P", "CMYK"])
@pytest.mark.parametrize("size", [(64, 64), (47, 33), (33, 70), (20, 21)])
def test_pictures_meet_the_model_as_torchvision_prepares_them(mode: str, size: tuple[int, int]) -> None:
    """In the original's order: resize, crop, and only then RGB."""
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    picture = Image.fromarray(values).convert(mode)
    original = transforms.Compose(
        [
            transforms.Resize(32, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(32),
            lambda image: image.convert("RGB"),
            transforms.ToTensor(),
            transforms.Normalize(CLIP_MEAN, CLIP_STD),
        ]
    )
    torch.testing.assert_close(tiny.image_reward().preprocess(picture), original(picture))


def test_a_long_prompt_is_cut_with_one_warning() -> None:
    scorer = tiny.image_reward()
    picture = Image.new("RGB", (32, 32), "red")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        cut = scorer.score([picture] * 2, ["a " * 34, "a " * 33 + "b c d"])
        scorer.score(picture, "b " * 34)
    assert cut[0].item() == pytest.approx(cut[1].item(), abs=1e-5)
    assert [str(warning.message) for warning in caught] == [
        "ImageReward reads 35 tokens of a prompt; longer ones are cut"
    ]


def test_padding_is_not_read() -> None:
    scorer = tiny.image_reward()
    images, short = scorer.encode_images(torch.rand(1, 3, 32, 32)), scorer.encode_prompts(["a cat"])
    scorer.full_length = True
    padded = scorer.encode_prompts(["a cat"])
    assert (short.shape[-1], padded.shape[-1]) == (6, 35)
    torch.testing.assert_close(scorer.compare(images, short), scorer.compare(images, padded))


def test_prompts_of_other_lengths_in_other_chunks_score_as_alone() -> None:
    scorer, prompts = tiny.image_reward(), ["a", "a long road to the sea", "b cd"]
    pixels = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    alone = torch.cat([scorer.score(one[None], prompt) for one, prompt in zip(pixels, prompts, strict=True)])
    torch.testing.assert_close(scorer.score(pixels, prompts, batch_size=1), alone)


def test_another_vocabulary_is_refused(checkpoints: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoints / "image_reward", tmp_path, dirs_exist_ok=True)
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    with pytest.raises(FergiRewardError, match="the tokenizer has 8 tokens, the text encoder 1926"):
        ImageRewardScorer.from_pretrained(tmp_path)


def test_a_vocabulary_that_is_no_text_is_one_sentence(checkpoints: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoints / "image_reward", tmp_path, dirs_exist_ok=True)
    (tmp_path / "vocab.txt").write_bytes(b"[PAD]\n\xff\n")
    with pytest.raises(FergiRewardError, match=r"vocab.txt, line 2 is not UTF-8"):
        ImageRewardScorer.from_pretrained(tmp_path)


def test_official_names_are_those_of_a_checkpoint_and_lead_back() -> None:
    scorer, folder = load_scorer("image_reward", emoji.checkpoints()["image_reward"]), emoji.DATA / "image_reward"
    names = {official_key(key): key for key in scorer.state_dict()}
    assert names.keys() == read_weights(folder / "ImageReward.pt").keys()
    assert all(_renamed(name) == key for name, key in names.items())
