"""The scorer `ocr` on text that Pillow draws, and its rule on texts alone."""

# ruff: noqa: RUF001 - quotation marks are what it is about

import math
import socket
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.images import to_pixels
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.ocr import OCRScorer, edit_distance, normalised, quoted, text_score
from fergi_reward.scorers.registry import load_scorer
from tests.command_line import invoke

SAYS_OPEN = 'a sign that says "Open daily"'
KINDS = ("a sign", "a flag", "a mug")


# The rule, on texts alone.


@cache
def distance_by_definition(one, other):
    if not one or not other:
        return len(one) + len(other)
    replaced = distance_by_definition(one[1:], other[1:]) + (one[0] != other[0])
    return min(distance_by_definition(one[1:], other) + 1, distance_by_definition(one, other[1:]) + 1, replaced)


def flow_grpo_reward(asked, read):
    """Flow-GRPO's formula for a text in quotes and a text that was read, both in lower case without blanks."""
    wrong = 0 if asked in read else min(distance_by_definition(asked, read), len(asked))
    return 1 - wrong / len(asked)


@given(st.text("abc", max_size=7), st.text("abcd", max_size=7))
def test_the_distance_is_levenshteins(one, other):
    assert edit_distance(one, other) == distance_by_definition(one, other)


@given(st.text("abc1.", min_size=1, max_size=6), st.text("abc1.", max_size=9))
def test_a_single_text_scores_as_by_flow_grpo(asked, read):
    assert text_score([asked], read) == flow_grpo_reward(asked, read)


@given(st.lists(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=4), st.text("abc \n", max_size=20))
def test_the_score_is_in_its_range_and_1_just_where_all_is_there(asked, read):
    score = text_score(asked, read)
    assert 0 <= score <= 1
    assert text_score(asked, " ".join(asked)) == 1
    if score == 1:
        assert all(part in normalised(read) for part in asked)


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ('a sign "Open"', ["open"]),
        ('"Open" above "24 / 7"', ["open", "24/7"]),
        ("ein Schild „Geöffnet“", ["geöffnet"]),
        ("une affiche « Été »", ["été"]),
        ("an “Ice’s” sign", ["ice's"]),
        ("招牌上写着「店」和『酒 吧』", ["店", "酒吧"]),
        ("the dog's mug says 'Don't panic'", ["don'tpanic"]),
        ("the dogs’ bowl says ‘It’s Rex’", ["it'srex"]),
        ("a rock 'n' roll poster 'LOUD'", ["loud"]),
        ("'ignored' where there is \"Ｆｕｌｌ\u200b Width\"", ["fullwidth"]),
        ('"straße"', ["strasse"]),
        ('"Open" and ""', ["open"]),
    ],
)
def test_what_is_in_quotes(prompt, parts):
    assert quoted(prompt) == parts


@pytest.mark.parametrize("prompt", ["a red cat", "", "it's the dogs' bowl", 'a sign ""', "a sign ' '", '" \n "'])
def test_a_prompt_without_text_is_refused_by_name(prompt):
    with pytest.raises(FergiRewardError, match="no text in quotes") as refused:
        quoted(prompt)
    assert repr(prompt) in str(refused.value)


@pytest.mark.parametrize("prompt", ['a 12" sign "Open"', 'a sign "Open', "a sign “Open", 'a “sign "Open"', "「店"])
def test_half_a_pair_of_marks_is_refused(prompt):
    with pytest.raises(FergiRewardError, match="without its other half"):
        quoted(prompt)


def test_several_parts_count_in_any_place_and_each_as_often_as_it_is_asked_for():
    assert text_score(["open", "24h"], "24h\nwe are\nOPEN") == 1
    assert text_score(["open", "open"], "open") == 0.5
    assert text_score(["open", "opening"], "opening") == pytest.approx(7 / 11)
    assert text_score(["open", "24h"], "open 25h") == pytest.approx(6 / 7)
    assert text_score(["abab"], "ab---ab") == 0.25  # what is left does not grow together


def test_a_long_text_in_the_picture_is_no_work():
    assert text_score(["x" * 1000], "y" * 200_000) == 0


# Pictures.


@pytest.fixture(scope="module")
def ocr():
    pytest.importorskip("rapidocr", reason="rapidocr comes with the extra ocr")
    return OCRScorer()


def drawn(text, font="DejaVuSans", size=36, box=(320, 96), place=(12, 24), back="white", ink="black"):
    fonts = Path(pytest.importorskip("matplotlib", reason="its fonts come with the extra report").get_data_path())
    picture = Image.new("RGB", box, back)
    written = ImageFont.truetype(str(fonts / "fonts" / "ttf" / f"{font}.ttf"), size)
    ImageDraw.Draw(picture).multiline_text(place, text, fill=ink, font=written)
    return picture


def scores(ocr, pictures, prompts):
    return ocr(torch.stack([to_pixels(picture) for picture in pictures]), prompts)


OPEN = "Open daily"
WRITTEN = {
    "bold": lambda: drawn(OPEN, "DejaVuSans-Bold"),
    "oblique": lambda: drawn(OPEN, "DejaVuSans-Oblique"),
    "monospaced": lambda: drawn(OPEN, "DejaVuSansMono"),
    "serif": lambda: drawn(OPEN, "DejaVuSerif-Italic"),
    "roman": lambda: drawn(OPEN, "cmr10", size=44),
    "small": lambda: drawn(OPEN, size=14),
    "large": lambda: drawn(OPEN, size=56, box=(384, 96)),
    "light on dark": lambda: drawn(OPEN, back="navy", ink="gold"),
    "faint": lambda: drawn(OPEN, back=(200, 200, 200), ink=(150, 150, 150)),
    "turned": lambda: drawn(OPEN, box=(320, 192), place=(30, 70)).rotate(15, fillcolor="white"),
    "blurred": lambda: drawn(OPEN).filter(ImageFilter.GaussianBlur(2)),
    "turned by half a right angle": lambda: drawn(OPEN, box=(360, 360), place=(60, 150)).rotate(45, fillcolor="white"),
    "much blurred": lambda: drawn(OPEN).filter(ImageFilter.GaussianBlur(3)),
    "two lines": lambda: drawn("Open\ndaily", box=(224, 128)),
    "among others": lambda: drawn("Bakery\nOpen daily", box=(320, 128)),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_text_is_read_however_it_is_written(ocr, how):
    assert scores(ocr, [WRITTEN[how]()], [SAYS_OPEN]) == [1.0]


def test_more_wrong_letters_score_less(ocr):
    written = [OPEN, "Oper daily", "Oper doily", "Oper doilt", "Ater doilt"]
    found = scores(ocr, [drawn(text) for text in written], [SAYS_OPEN] * 5)
    assert found == pytest.approx([1, 8 / 9, 7 / 9, 6 / 9, 4 / 9], abs=1e-6)


def test_what_nobody_can_read_is_worth_nothing_and_upside_down_less_than_all(ocr):
    illegible = drawn(OPEN).filter(ImageFilter.GaussianBlur(8))
    upside_down = drawn(OPEN).rotate(180)
    nothing, some = scores(ocr, [illegible, upside_down], [SAYS_OPEN] * 2)
    assert nothing == 0
    assert some < 1


def test_no_text_and_another_text_are_worth_nothing(ocr):
    assert scores(ocr, [Image.new("RGB", (320, 96), "white"), drawn("KFXZ 77")], [SAYS_OPEN] * 2) == [0, 0]


def test_chinese_and_accents_of_french_are_read(ocr):
    assert scores(ocr, [drawn("Ça va été")], ["une affiche « Ça va été »"]) == [1.0]
    assert ocr._asked("招牌「咖啡店」") == ["咖啡店"]


@pytest.mark.parametrize(("prompt", "letter"), [('a sign "Привет"', "и"), ('a sign "안녕"', "녕"), ('"x 🦄"', "🦄")])
def test_letters_that_the_models_do_not_know_are_refused_in_place_of_a_0(ocr, prompt, letter):
    with pytest.raises(FergiRewardError, match="which the models of ocr cannot read") as refused:
        scores(ocr, [drawn("x")], [prompt])
    assert repr(letter) in str(refused.value)


def test_a_picture_too_thin_to_read_is_refused_in_place_of_a_0(ocr):
    with pytest.raises(FergiRewardError, match="3000 x 1 pixels: it is too thin"):
        scores(ocr, [Image.new("RGB", (3000, 1))], [SAYS_OPEN])


def test_a_batch_scores_as_its_pictures_one_by_one_and_reads_each_once(ocr, monkeypatch):
    pictures = [drawn(OPEN), drawn("Closed"), drawn(OPEN), drawn("Open")]
    prompts = [SAYS_OPEN, "a sign “closed”", 'a sign "closed"', SAYS_OPEN]
    alone = [scores(ocr, [picture], [prompt])[0] for picture, prompt in zip(pictures, prompts, strict=True)]
    read, real = [], ocr.read
    monkeypatch.setattr(ocr, "read", lambda picture: read.append(picture) or real(picture))
    assert scores(ocr, pictures, prompts) == alone
    assert len(read) == 3


def test_it_is_a_scorer_by_name_that_asks_no_network(ocr, monkeypatch, tmp_path):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it asked the network"))
    scorer = load_scorer("ocr", dtype=torch.bfloat16)
    assert scorer.weights_digest() == load_scorer("ocr").weights_digest()
    assert scorer.origin == "fergi_reward"
    drawn("Open doily").save(tmp_path / "sign.png")
    reward = CombinedReward({"ocr": 2.0}, device="cpu")
    assert reward.score([tmp_path / "sign.png"], SAYS_OPEN).total.tolist() == pytest.approx([2 * 8 / 9])
    assert reward.without_gradient == ["ocr"]
    with pytest.raises(FergiRewardError, match="takes no checkpoint"):
        load_scorer("ocr", "somewhere")


def test_score_and_calibrate_on_drawn_text(ocr, tmp_path):
    """People who prefer the better written of two signs: the weight is positive, and every pair is right."""
    rows, texts = [], ["Open daily", "Open doily", "Oper doilt"]
    for place, text in enumerate(texts):
        drawn(text).save(tmp_path / f"{place}.png")
        rows += [(f"{place}.png", f'{kind} that says "Open daily"', 3 - place, kind) for kind in KINDS]
    table = pd.DataFrame([*rows, ("0.png", "a red cat", 1, "x")], columns=["image", "prompt", "rating", "rater"])
    table.to_csv(tmp_path / "manifest.csv", index=False)
    result = invoke(["score", "--images", tmp_path / "manifest.csv", "--scorers", "ocr", "--out", tmp_path / "s.csv"])
    assert result.exit_code == 3, result.output
    assert "the prompt 'a red cat' has no text in quotes" in (tmp_path / "s.csv.errors.csv").read_text()
    scored = pd.read_csv(tmp_path / "s.csv")
    assert scored["ocr"].tolist() == pytest.approx([1] * 3 + [8 / 9] * 3 + [6 / 9] * 3, abs=1e-6)
    out = tmp_path / "calibration.json"
    result = invoke(["calibrate", "--judgements", tmp_path / "s.csv", "--scorers", "ocr", "--out", out])
    assert result.exit_code == 0, result.output
    reward = CombinedReward.from_pretrained(out)
    total = reward.score([tmp_path / f"{place}.png" for place in range(3)], SAYS_OPEN).total.tolist()
    assert total == sorted(total, reverse=True)
    assert math.isfinite(total[0]) and len(set(total)) == 3
