import math
import random
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import CLIPTokenizer

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.images import open_picture, to_pixels
from fergi_reward.scorers.clip_tokenizer import clip_tokenizer
from fergi_reward.scorers.pickscore import PickScorer
from fergi_reward.toy import emoji, tiny


@pytest.fixture(scope="module")
def scorer(checkpoints: Path) -> PickScorer:
    return PickScorer.from_pretrained(checkpoints / "pickscore")


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_the_original_scores_in_any_batch_and_order(scorer, cases, golden, batch_size: int) -> None:
    rows = list(zip(cases, golden["pickscore"], strict=True))
    random.Random(batch_size).shuffle(rows)
    scores = scorer.score([path for (_, path, _), _ in rows], [text for (*_, text), _ in rows], batch_size=batch_size)
    torch.testing.assert_close(scores, torch.tensor([value for _, value in rows]), rtol=0, atol=5e-5)


def test_the_original_scores_one_by_one(scorer, cases, golden) -> None:
    for (_, path, prompt), expected in zip(cases, golden["pickscore"], strict=True):
        assert scorer.score(path, prompt).item() == pytest.approx(expected, abs=5e-5)


def test_pixels_score_like_the_picture(scorer, cases) -> None:
    """But for Pillow's last bit; the golden scores spread by 5."""
    for _, path, prompt in cases:
        pixels = to_pixels(open_picture(path).convert("RGB"))[None]
        bound = 5e-5 if pixels.shape[-2:] == (224, 224) else 0.01
        assert scorer(pixels, prompt).item() == pytest.approx(scorer.score(path, prompt).item(), abs=bound)


def test_the_shipped_tokenizer_is_the_processors(reference: Path, cases) -> None:
    theirs = CLIPTokenizer.from_pretrained(reference / "pickscore_processor")
    for prompt in [*{prompt for *_, prompt in cases}, "it's <|endoftext|> DON'T", "  a\n\tb  ", "1234 ½ Ⅷ"]:
        assert clip_tokenizer()(prompt).input_ids == theirs(prompt).input_ids


@pytest.mark.parametrize(("kept", "tokens"), [(None, "49,408"), ("tokenizer_config.json", "2")])
def test_a_copy_without_its_own_tokenizer_is_refused(tmp_path: Path, kept: str | None, tokens: str) -> None:
    shutil.copytree(emoji.checkpoints()["pickscore"], tmp_path, dirs_exist_ok=True)
    if kept is None:
        shutil.rmtree(tmp_path / "processor")
    else:
        (tmp_path / "processor" / "tokenizer.json").unlink()
    with pytest.raises(FergiRewardError, match=f"has {tokens} tokens, the model of {tmp_path} 687: copy its folder"):
        PickScorer.from_pretrained(tmp_path)


def test_a_literal_end_token_ends_the_text(scorer) -> None:
    picture = Image.new("RGB", (32, 32), "red")
    scores = scorer.score([picture] * 2, ["a cat", "a cat<|endoftext|> on a mat"])
    assert scores[0].item() == pytest.approx(scores[1].item(), abs=5e-5)


def test_alpha_is_dropped(scorer) -> None:
    red = Image.new("RGB", (32, 32), "red")
    seen_through = red.copy()
    seen_through.putalpha(10)
    assert scorer.score(red, "red").item() == scorer.score(seen_through, "red").item()


def test_the_score_is_the_scaled_cosine_of_the_embeddings() -> None:
    scorer = tiny.pickscore()
    pixels = torch.rand(2, 3, 32, 32)
    images, texts = scorer.encode_images(scorer.transform(pixels)), scorer.encode_prompts(["a", "b"])
    cosine = torch.nn.functional.cosine_similarity(images, texts)
    scale = math.exp(scorer.model.config.logit_scale_init_value)
    torch.testing.assert_close(scorer(pixels, ["a", "b"]), scale * cosine)
