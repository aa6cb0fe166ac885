from collections.abc import Callable

import pytest
import torch

from fergi_reward.core.errors import FergiRewardWarning
from fergi_reward.diffusion.family import Pipeline, family_of
from fergi_reward.scorers.clip_tokenizer import clip_tokenizer
from fergi_reward.toy import emoji
from fergi_reward.toy.emoji.evaluation import draw, evaluate_pipeline
from fergi_reward.toy.emoji.judge import judge
from fergi_reward.toy.emoji.pictures import COLOUR_NAMES, HELD_OUT, OBJECT_NAMES, SCENES
from fergi_reward.toy.emoji.vocabulary import emoji_tokenizer

CAPTIONS = [scene.caption for scene in HELD_OUT]


@pytest.mark.parametrize("load", [emoji.load_pipeline, emoji.load_flow_pipeline])
def test_the_pipelines_draw_what_they_are_asked_for(load: Callable[[], Pipeline]) -> None:
    pipeline = load()
    assert family_of(pipeline).network.dtype == pipeline.text_encoder.dtype == torch.float32
    captions = CAPTIONS[::4]
    pixels = draw(pipeline, captions, seed=0)
    assert pixels.shape == (8, 3, 32, 32)
    assert judge(pixels, captions).means()["right_colour"] >= 0.5
    torch.testing.assert_close(draw(pipeline, captions[:2], seed=0), pixels[:2], atol=1e-4, rtol=0)
    assert evaluate_pipeline(pipeline, HELD_OUT[:1], seed=1).keys() == {"psnr", "right_object", "right_colour"}


def test_the_flow_pipeline_reads_a_caption_and_nothing_else() -> None:
    pipeline = emoji.load_flow_pipeline()
    encoded = family_of(pipeline).encode_prompts(CAPTIONS)
    # Every caption has eight tokens, its ends counted; no zeros stand for T5.
    assert encoded.prompt_embeds.shape == (32, 8, 256)
    tokenizer = emoji_tokenizer()
    assert {len(tokenizer(scene.caption).input_ids) for scene in SCENES} == {8}


def test_captions_are_cut_into_tokens_as_by_clip() -> None:
    ours, clips = emoji_tokenizer(), clip_tokenizer()
    for caption in [scene.caption for scene in SCENES]:
        tokens, clip_tokens = (each.convert_ids_to_tokens(each(caption).input_ids) for each in (ours, clips))
        assert tokens == clip_tokens
    other = ours("a zebra").input_ids
    assert ours.decode(other, skip_special_tokens=True).strip() == "a zebra"


@pytest.mark.parametrize("load", [emoji.load_pipeline, emoji.load_flow_pipeline])
def test_words_that_no_caption_has_are_named_once(load: Callable[[], Pipeline]) -> None:
    family = family_of(load())
    family.encode_prompts(CAPTIONS)
    family.encode([""], negative=True)
    with pytest.warns(FergiRewardWarning, match="know 'dragon', and draws") as told:
        family.encode_prompts([CAPTIONS[0], "a Dragon on a red background", "a dragon"])
        family.encode_prompts(["a zebra"])
    assert len(told) == 1
    assert all(name in str(told[0].message) for name in (*OBJECT_NAMES, *COLOUR_NAMES))


def test_a_word_that_is_cut_off_is_not_named_and_many_are_counted() -> None:
    family = family_of(emoji.load_flow_pipeline())
    with pytest.warns(FergiRewardWarning, match="know 'c', and draws"):  # of "xyz" the flow model reads one letter
        family.encode_prompts(["a cat c on red xyz"])
    other = family_of(emoji.load_flow_pipeline())
    with pytest.warns(FergiRewardWarning, match="know 'b', 'c', 'd', 'e', 'f' and 2 more, and draws"):
        other.encode_prompts(["b c d e", "f g h"])
