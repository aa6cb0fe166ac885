"""Special tokens inside a prompt, as the original packages read them.

`original_tokens.json` holds what these gave, without padding: image-reward's tokenizer in transformers 4.40.2 (with the
vocabulary of the golden scores; as many tokens as its mask counts), PickScore's processor in 4.27.4, the tokenizers of
hpsv2 1.2.0 and of OpenAI's clip (clip-anytorch 2.6.0).
"""

import json
from pathlib import Path

import pytest
from PIL import Image

from fergi_reward.scorers.clip_tokenizer import openai_tokenizer, openai_tokens
from fergi_reward.scorers.image_reward import ImageRewardScorer
from fergi_reward.scorers.pickscore import PickScorer
from fergi_reward.toy import tiny

pytestmark = pytest.mark.filterwarnings("ignore:ImageReward reads 35 tokens")
STORED = json.loads((Path(__file__).parent / "original_tokens.json").read_text(encoding="utf-8"))
each_prompt = pytest.mark.parametrize("stored", STORED, ids=lambda stored: stored["prompt"][:20])


@pytest.fixture(scope="module")
def image_reward(checkpoints: Path) -> ImageRewardScorer:
    return ImageRewardScorer.from_pretrained(checkpoints / "image_reward")


@pytest.fixture(scope="module", params=["shipped tokenizer", "processor of the folder"])
def pickscore(request: pytest.FixtureRequest, checkpoints: Path) -> PickScorer:
    if request.param == "shipped tokenizer":
        return tiny.pickscore()
    return PickScorer.from_pretrained(checkpoints / "pickscore")


@each_prompt
def test_image_reward_counts_special_tokens_of_the_prompt_itself(image_reward, stored) -> None:
    tokens, counted = image_reward.encode_prompts([stored["prompt"]])[0].tolist()
    expected = stored["image_reward"]
    assert tokens == expected
    assert counted == [1] * len(expected)


@each_prompt
def test_pickscore_reads_special_tokens_as_the_original(pickscore, stored) -> None:
    assert pickscore.tokens([stored["prompt"]])[0].tolist() == stored["pickscore"]


@each_prompt
@pytest.mark.parametrize("column", ["hps", "clip"])
def test_hps_and_clip_know_their_own_special_tokens_and_no_others(stored, column: str) -> None:
    tokenizer = tiny.hps().tokenizer if column == "hps" else openai_tokenizer()
    tokens = openai_tokens(tokenizer, [stored["prompt"]], 77, full_length=True)[0].tolist()
    assert tokens == stored[column] + [0] * (77 - len(stored[column]))


def test_what_follows_a_pad_token_in_a_prompt_is_read_by_image_reward() -> None:
    scores = tiny.image_reward().score([Image.new("RGB", (32, 32), "red")] * 2, ["a [PAD] [PAD] d", "a [PAD] [PAD] c"])
    assert scores[0] != scores[1]


def test_what_follows_openais_end_token_is_not_read_by_clip() -> None:
    scorer, picture = tiny.clip(), Image.new("RGB", (32, 32), "red")
    scores = scorer.score([picture] * 3, ["a cat <|endoftext|> dog", "a cat <|endoftext|> hill", "a cat <|x|> dog"])
    assert scores[0] == scores[1] != scores[2]
