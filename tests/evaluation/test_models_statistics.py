"""Tuned against base: statistics by hand, who may give a verdict, and the report of it all."""

import json
from dataclasses import replace
from math import sqrt

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.evaluation.compared_model import Card, ComparedModel, base_doubt, read_card, seen_prompts
from fergi_reward.evaluation.model_pictures import requests_of
from fergi_reward.evaluation.models import Measured, Setting, Signal, compare, compare_signal
from fergi_reward.evaluation.models_report import models_report
from fergi_reward.evaluation.models_result import Diversity, SignalComparison
from fergi_reward.evaluation.models_verdict import verdict
from fergi_reward.evaluation.same_function import terms_of, unknown_functions
from fergi_reward.evaluation.side_by_side import write_side_by_side
from fergi_reward.report.markdown import printed
from fergi_reward.stats.diversity import mean_pairwise_distance

pytest.importorskip("matplotlib", reason="plots come with the extra report")
from fergi_reward.report.page import page

PROMPTS = ["a dog, /imagine a cat", *(f"prompt {number}" for number in range(1, 20))]
SIGNALS = [Signal("clip", "scorer", ("clip",)), Signal("pickscore", "scorer", ("pickscore",))]


def measured(name, columns, distances=None, trained_on=("pickscore",)):
    model = ComparedModel(name, f"runs/{name}", "adapter", None, trained_on)
    return Measured(model, pd.DataFrame(columns, dtype=float), None if distances is None else np.array(distances))


def setting(**changes):
    options = {
        "prompts": PROMPTS,
        "requests": requests_of(PROMPTS, 2, 0),
        "samples": 2,
        "drawing": {},
        "embedder": "clip",
    }
    return Setting(**(options | {"seed": 0} | changes))


def test_win_rate_difference_and_standardised_difference_by_hand():
    base, tuned = np.array([1.0, 2, 3, 4]), np.array([2.0, 2, 2, 6])
    prompts = np.array(["a", "a", "b", "b"])
    found = compare_signal(SIGNALS[0], True, base, tuned, prompts, seed=0)
    assert (found.wins, found.ties, found.pairs) == (2, 1, 4)
    assert found.win_rate == 0.625
    assert found.difference == 0.5
    assert found.win_rate_ci95 is None and found.difference_ci95 is None  # two prompts say nothing about others
    assert found.standardised == pytest.approx(0.5 / sqrt(5 / 3))
    turned = compare_signal(SIGNALS[0], True, tuned, base, prompts, seed=0)
    assert (turned.win_rate, turned.difference) == (1 - found.win_rate, -found.difference)
    assert compare_signal(SIGNALS[0], True, np.ones(4), tuned, prompts, seed=0).standardised is None


def test_the_interval_of_a_win_rate_draws_prompts():
    # Five prompts with two pictures each, all won or all lost: a bootstrap draws k won prompts with binomial chance.
    prompts, differences = np.repeat(list("abcde"), 2), np.repeat([1.0, 1, 1, 1, -1], 2)
    found = compare_signal(SIGNALS[0], True, np.zeros(10), differences, prompts, seed=0)
    assert found.win_rate == 0.8
    assert found.win_rate_ci95 == (0.4, 1.0)  # P(k <= 1 of 5) = 0.007, P(k <= 2) = 0.058; P(k = 5) = 0.33
    assert found.difference_ci95 == (pytest.approx(-0.2), 1.0)


def test_mean_pairwise_distance_does_not_see_order_or_length():
    embeddings = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    unit = embeddings / embeddings.norm(dim=1, keepdim=True)
    expected = 1 - ((unit.sum(0) @ unit.sum(0)) - 5) / 20  # all products but the squares, over 5 x 4 pairs
    assert mean_pairwise_distance(embeddings) == pytest.approx(expected.item(), abs=1e-6)
    assert mean_pairwise_distance(3 * embeddings.flip(0)) == pytest.approx(expected.item(), abs=1e-6)
    assert mean_pairwise_distance(embeddings[:1].repeat(4, 1)) == pytest.approx(0, abs=1e-6)


def test_held_out_is_what_shares_no_term_with_the_reward():
    both = Signal("shipped", "calibration", ("clip", "pickscore"))
    assert [signal.is_held_out(("pickscore",)) for signal in (*SIGNALS, both)] == [True, False, False]
    assert [signal.is_held_out(()) for signal in (*SIGNALS, both)] == [True, True, True]
    assert [signal.is_held_out(None) for signal in (*SIGNALS, Signal("judge", "judge", ()))] == [None, None, True]


def signal(name, low, high, held_out=True, kind="scorer"):
    rate = (low + high) / 2
    return SignalComparison(name, kind, held_out, 0.0, 0.1, 10, 5, 0, rate, (low, high), 0.1, (0.0, 0.2), 0.1)


@pytest.mark.parametrize(
    ("signals", "says"),
    [
        (
            [signal("clip", 0.6, 0.8), signal("pickscore", 0.1, 0.2, False)],
            "Of the pairs mine won 70.0% by clip (60.0% to 80.0%): it is better than the base model by 1 of 1",
        ),
        ([signal("clip", 0.2, 0.4), signal("pickscore", 0.7, 0.9, False)], "a sign that it games its reward"),
        ([signal("clip", 0.2, 0.4), signal("hps_v2", 0.4, 0.6)], "it is worse than the base model by 1 of 2"),
        (
            [signal("clip", 0.4, 0.6)],
            "Of the pairs mine won 50.0% by clip (40.0% to 60.0%): nothing that it was not trained on tells it",
        ),
        ([signal("clip", 0.6, 0.8), signal("hps_v2", 0.2, 0.4)], "what it was not trained on disagrees"),
        ([signal("pickscore", 0.9, 1.0, False)], "No verdict on mine: its reward weighs every scorer that was asked"),
        ([signal("sum", 0.9, 1.0, kind="calibration")], "No verdict on mine: its reward weighs every scorer"),
    ],
)
def test_the_verdict_rests_on_what_was_held_out(signals, says):
    assert says in verdict("mine", signals, 20, ("pickscore",), None)


def test_no_verdict_without_knowing_the_reward_or_on_a_few_prompts():
    assert "nothing says what it was trained on" in verdict("mine", [signal("clip", 0.9, 1, None)], 20, None, None)
    says = verdict("mine", [signal("clip", 1, 1)], 19, (), None)
    assert says == "No verdict on mine: from 19 prompts nothing follows; give at least 20."


def test_collapse_is_a_warning():
    collapsed = Diversity("clip", 20, 0.3, 0.1, -0.2, (-0.25, -0.15))
    assert "WARNING: its pictures of one prompt are more alike" in verdict("m", [], 20, (), collapsed)
    assert "WARNING" not in verdict("m", [], 20, (), replace(collapsed, ci95=(-0.25, 0.01)))


def test_a_trifling_loss_of_diversity_is_no_warning_however_sure_it_is():
    trifle = Diversity("clip", 40, 0.0548, 0.0537, -0.0011, (-0.0015, -0.0007))
    assert "WARNING" not in verdict("m", [], 40, (), trifle)
    assert "WARNING" not in verdict("m", [], 40, (), replace(trifle, tuned=0.05, ci95=(-0.009, -0.002)))
    assert "WARNING" in verdict("m", [], 40, (), replace(trifle, tuned=0.05, ci95=(-0.006, -0.003)))
    # From few prompts an interval is too narrow.
    assert "WARNING" not in verdict("m", [], 7, (), Diversity("clip", 7, 0.3, 0.1, -0.2, (-0.25, -0.15)))


def compared(distances=(*[0.1] * 19, np.nan)):
    base = measured("base", {"clip": np.arange(40), "pickscore": np.zeros(40)}, [0.4] * 20, None)
    gains = np.array([5.0, *[1] * 37, np.nan, -3])
    columns = {"clip": np.arange(40) + gains, "pickscore": np.ones(40)}
    tuned = measured("mine", columns, list(distances))
    return compare(base, [tuned], SIGNALS, setting())


def test_a_picture_that_was_not_scored_leaves_the_pair_out_and_is_counted():
    result = compared()
    model = result.models[0]
    assert {one.signal: (one.pairs, one.wins) for one in model.signals} == {"clip": (39, 38), "pickscore": (39, 39)}
    assert [(each.count, each.what, each.reason) for each in result.exclusions] == [
        (1, "pictures of mine", "not scored, see mine/scores.parquet.errors.csv")
    ]
    assert model.gains_by == ("clip",)  # pickscore was trained on
    assert model.best[0].base == "base/pictures/0001_01.png" and model.best[0].prompt == PROMPTS[0]
    assert model.best[0].gain == pytest.approx(5 / np.delete(np.arange(40), 38).std(ddof=1))  # as `standardised` has it
    assert model.worst[0].tuned == "mine/pictures/0020_02.png" and model.worst[0].gain < 0
    assert not {one.tuned for one in model.best} & {one.tuned for one in model.worst}
    assert model.diversity == Diversity(
        "clip", 19, pytest.approx(0.4), pytest.approx(0.1), pytest.approx(-0.3), pytest.approx((-0.3, -0.3))
    )
    base = measured("base", {"clip": [np.nan] * 40, "pickscore": [0.0] * 40})
    with pytest.raises(FergiRewardError, match="no pair of pictures of base and mine"):
        compare(base, [replace(base, model=replace(base.model, name="mine"))], SIGNALS, setting())


def test_two_pictures_side_by_side_are_equally_high_whatever_their_sizes(tmp_path):
    Image.new("RGB", (32, 32), "red").save(tmp_path / "left.png")
    Image.new("RGB", (1024, 2048), "blue").save(tmp_path / "right.png")
    write_side_by_side(tmp_path / "both.jpg", tmp_path / "left.png", tmp_path / "right.png")
    both = Image.open(tmp_path / "both.jpg")
    assert both.size == (512 + 12 + 256, 512)
    assert [max(range(3), key=lambda part: both.getpixel((x, 9))[part]) for x in (256, 700)] == [0, 2]  # red, blue


def test_the_report_shows_it(tmp_path):
    result = compared(distances=[0.1] * 20)
    for one in (*result.models[0].best, *result.models[0].worst):
        (tmp_path / one.side_by_side).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 4)).save(tmp_path / one.side_by_side)
    report = models_report(result, tmp_path)
    text = printed(report)
    assert report.verdict[0].startswith("Of the pairs mine won 97.4% by clip (")
    assert "it is better than the base model by 1 of 1 signals" in report.verdict[0]
    assert "WARNING" in report.verdict[0] and "WARNING" in text
    assert "TRAINED ON" in text and "MORE ALIKE" in text and "pictures of mine" in text
    assert [section.title for section in report.sections] == [
        "mine",
        "Examples of mine",
        "Diversity",
        "What was left out",
    ]
    assert page(report).count("<img src") == len(report.pictures) == 9  # 8 gains, and the only loss
    assert report.data["models"][0]["best"][0]["prompt"] == PROMPTS[0]  # a slash makes no folder of it


def test_what_gained_is_no_loss_and_few_prompts_leave_diversity_open(tmp_path):
    prompts = PROMPTS[1:9]
    few = setting(prompts=prompts, requests=requests_of(prompts, 2, 0))
    base = measured("base", {"clip": np.arange(16), "pickscore": np.zeros(16)}, [0.4] * 8, None)
    tuned = measured("mine", {"clip": np.arange(16) + 1, "pickscore": np.zeros(16)}, [0.1] * 8)
    result = compare(base, [tuned], SIGNALS, few)
    model = result.models[0]
    assert len(model.best) == 8 and model.worst == ()
    result = replace(result, models=(replace(model, best=()),))
    text = printed(models_report(result, tmp_path))
    assert "95 % interval, too narrow: 8 prompts" in text
    assert "too few prompts" in text and "more alike" not in text.lower()


def test_a_note_says_only_what_diversity_lacks():
    columns = {name: np.arange(40) for name in ("clip", "pickscore")}
    for samples, missing in ((2, "no scorer here has an image embedding, add"), (1, "one picture of a prompt, give")):
        common = setting(embedder=None, samples=samples)
        notes = compare(measured("base", columns), [measured("mine", columns)], SIGNALS, common).notes
        assert any(note.startswith(f"Diversity was not measured: {missing}") for note in notes)


def test_the_report_says_whose_weights_scored_and_what_is_by_hand(tmp_path):
    signals = [*SIGNALS, Signal("by hand", "by hand", ("clip",))]
    places = {"clip": "of the toy tiny", "pickscore": "mine (SHA-256 00ff)"}
    columns = {name: np.arange(40) for name in ("clip", "pickscore", "by hand")}
    common = setting(checkpoints=places, calibrations={"by hand": "11ff"})
    result = compare(measured("base", columns), [measured("mine", columns)], signals, common)
    report = models_report(result, tmp_path)
    table = report.sections[0].items[0]
    assert table.note.startswith("Weights that scored: clip: of the toy tiny; pickscore: mine (SHA-256 00ff).")
    assert [row[-1] for row in table.rows] == ["scorer", "scorer", "by hand"]
    assert report.provenance.fingerprints["weights by hand"] == "11ff"
    assert "by hand" not in report.verdict[0]  # a sum of scorers is no judge of its own


def test_the_report_tells_no_folder_of_anybodys(tmp_path):
    result = replace(compared(), base="/home/ann smith/sd15", command="evaluate --base '/home/ann smith/sd15'")
    card = {"pairs": "../ann/pairs", "calibration": {"command": "calibrate --data /home/ann/fergi", "weight": 1.0}}
    model = replace(result.models[0], place="~/ann/lora", learned_from=card, best=(), worst=())
    record = models_report(replace(result, models=(model,)), tmp_path).record()
    assert not any(folder in json.dumps(record) for folder in ("ann/", "ann ", "/home"))
    assert (record["base"], record["command"]) == ("sd15", "evaluate --base sd15")
    told = {"pairs": "pairs", "calibration": {"command": "calibrate --data fergi", "weight": 1.0}}
    assert (record["models"][0]["place"], record["models"][0]["learned_from"]) == ("lora", told)


def test_cards(tmp_path):
    assert read_card(tmp_path) is None
    (tmp_path / "README.md").write_text('---\nbase_model: a/b\n---\n```json\n{"terms": {"clip": {}}}\n```\n')
    assert read_card(tmp_path) is None  # somebody else's
    assert Card("a/b", {"terms": {"clip": {}, "au4": {}}}).terms == ("clip", "au4")
    assert Card("a/b", {"pairs": "pickapic", "rows": 3}).terms == ()
    assert Card("a/b", {"name": "redness"}).terms is None


@pytest.mark.parametrize(
    ("named", "base", "doubt"),
    [
        ("org/sd15", "org/sd15", None),
        ("org/sd15", "/models/sd15", None),
        ("a pipeline built in memory", "tiny", None),
        ("org/sd15", "/models/copy", "mine: its card names the base model sd15, here it is copy."),
    ],
)
def test_a_base_model_of_another_name_is_noted(named, base, doubt):
    assert base_doubt(ComparedModel("mine", "x", "adapter", Card(named, {})), base) == doubt


@pytest.mark.parametrize(
    ("judge", "is_a_copy"),
    [
        (lambda score: 3 - 2 * score, True),
        (np.exp, True),
        (lambda score: score + 0.015 * np.cos(90 * score), True),  # 0.9999
        (lambda score: score + 0.15 * np.cos(90 * score), False),  # 0.99
        (lambda score: np.where(score == score.max(), 1e6, np.sin(90 * score)), False),  # one picture decides
    ],
)
def test_a_judge_with_the_scores_of_what_was_trained_on_is_not_held_out(judge, is_a_copy):
    scores = np.random.default_rng(0).normal(size=(2, 40))
    base, tuned = (
        measured(name, {"clip": judge(each), "pickscore": each}) for name, each in zip("ab", scores, strict=True)
    )
    (model,) = compare(base, [tuned], SIGNALS, setting(embedder=None)).models
    held_out = {one.signal: one.held_out for one in model.signals}
    assert held_out == {"clip": not is_a_copy, "pickscore": False}
    assert model.copies == ({"clip": "pickscore"} if is_a_copy else {})
    assert ("every scorer that was asked" in model.verdict) == is_a_copy


def test_a_function_under_another_name_is_the_one_that_was_trained_on(tmp_path, monkeypatch):
    source = "from functools import partial\n"
    source += "def red(pixels, prompts, channel=0):\n    return pixels[:, channel].mean((1, 2))\n"
    source += "also = red\none, two, green = (partial(red, channel=number) for number in (0, 0, 1))\n"
    (tmp_path / "aliases_a.py").write_text(source)
    (tmp_path / "aliases_b.py").write_text("from aliases_a import red as mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert terms_of("aliases_a:also", ["aliases_a:red"]) == ("aliases_a:also", "aliases_a:red")
    assert terms_of("aliases_b:mine", ["aliases_a:red"]) == ("aliases_b:mine", "aliases_a:red")
    assert terms_of("aliases_a:two", ["aliases_a:one", "aliases_a:green"]) == ("aliases_a:two", "aliases_a:one")
    assert terms_of("aliases_a:red", ["aliases_a:green", "gone:green"]) == ("aliases_a:red",)
    assert terms_of("aliases_a:red", ["gone:red"]) == ("aliases_a:red", "gone:red")  # nobody can tell
    assert terms_of("hps_v2.1", ["hps_v2"]) == ("hps_v2.1",)
    assert unknown_functions(["aliases_a:red"], ["gone:red", "aliases_a:one"]) == ["gone:red"]
    assert unknown_functions(["pickscore"], ["gone:red"]) == []


def test_prompts_that_were_trained_on_are_counted_whatever_their_capitals(tmp_path):
    (tmp_path / "prompts.txt").write_text("a cat\na dog\n")
    model = ComparedModel("mine", str(tmp_path), "adapter", Card("base", {}))
    assert seen_prompts(model, ["A  cat", "a fox", "a dog"]) == 2
    assert seen_prompts(replace(model, card=None), ["a cat"]) == 0
