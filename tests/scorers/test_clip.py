from pathlib import Path

import pytest
import torch
from torch.nn.functional import cosine_similarity
from transformers import CLIPModel

from fergi_reward.scorers.clip import CLIPScorer
from fergi_reward.scorers.clip_tokenizer import clip_tokenizer
from fergi_reward.toy import tiny


def test_the_score_is_the_cosine_that_transformers_computes(tmp_path: Path) -> None:
    scorer = tiny.clip()
    scorer.model.save_pretrained(tmp_path)
    theirs = CLIPModel.from_pretrained(tmp_path).eval()
    pixels, prompts = torch.rand(2, 3, 40, 32), ["a cat", "two dogs on a hill"]
    tokens = clip_tokenizer()(prompts, padding=True, return_tensors="pt")
    out = theirs(pixel_values=scorer.transform(pixels), **tokens)
    expected = cosine_similarity(out.image_embeds, out.text_embeds)
    torch.testing.assert_close(CLIPScorer.from_pretrained(tmp_path)(pixels, prompts), expected)


def test_positions_that_older_transformers_saved_are_no_weights(checkpoints: Path) -> None:
    """The reference checkpoint of PickScore has them, as OpenAI's has."""
    assert torch.isfinite(CLIPScorer.from_pretrained(checkpoints / "pickscore").score(torch.rand(1, 3, 9, 9), "a"))


@pytest.mark.parametrize("words", [74, 75, 76, 200])
def test_long_prompts_keep_75_tokens(words: int) -> None:
    tokens = tiny.clip().tokens(["cat " * words, "a"])
    kept = min(words, 75)
    assert tokens.shape == (2, kept + 2)
    assert tokens[0].tolist() == [49406, *[2368] * kept, 49407]
    assert tokens[1, :3].tolist() == [49406, 320, 49407]
