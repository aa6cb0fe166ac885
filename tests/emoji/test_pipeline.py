import torch

from fergi_reward import emoji
from fergi_reward.emoji.evaluation import draw, evaluate_pipeline
from fergi_reward.emoji.judge import judge
from fergi_reward.emoji.pictures import HELD_OUT, SCENES
from fergi_reward.emoji.vocabulary import emoji_tokenizer
from fergi_reward.scorers.clip_tokenizer import clip_tokenizer

CAPTIONS = [scene.caption for scene in HELD_OUT]


def test_the_pipeline_draws_what_it_is_asked_for() -> None:
    pipeline = emoji.load_pipeline()
    assert pipeline.unet.dtype == torch.float32
    captions = CAPTIONS[::4]
    pixels = draw(pipeline, captions, seed=0)
    assert pixels.shape == (8, 3, 32, 32)
    assert judge(pixels, captions).means()["right_colour"] >= 0.5
    torch.testing.assert_close(draw(pipeline, captions[:2], seed=0), pixels[:2], atol=1e-4, rtol=0)
    assert evaluate_pipeline(pipeline, HELD_OUT[:1], seed=1).keys() == {"psnr", "right_object", "right_colour"}


def test_captions_are_cut_into_tokens_as_by_clip() -> None:
    ours, clips = emoji_tokenizer(), clip_tokenizer()
    for caption in [scene.caption for scene in SCENES]:
        tokens, clip_tokens = (each.convert_ids_to_tokens(each(caption).input_ids) for each in (ours, clips))
        assert tokens == clip_tokens
    other = ours("a zebra").input_ids
    assert ours.decode(other, skip_special_tokens=True).strip() == "a zebra"
