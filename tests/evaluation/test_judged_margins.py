"""`fergi-reward evaluate preferences --judgements`: a table of one's own, with columns of scores and no pictures."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fergi_reward.calibration.by_hand import by_hand
from fergi_reward.calibration.calibration import Calibration, Fit, Term
from fergi_reward.calibration.from_arrays import fit_weights
from fergi_reward.calibration.judged_weights import fit_judged_weights
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.judgement_files.options import JudgementOptions
from fergi_reward.data.judgement_files.read import judgements_in
from fergi_reward.data.judgements import from_ratings
from fergi_reward.data.pair_sketch import PairSketch
from fergi_reward.evaluation.judged_margins import judged_margins
from tests.command_line import invoke

pytestmark = pytest.mark.usefixtures("no_plots")
PREFERENCES = Path(__file__).parents[3] / "shared" / "preferences"


def evaluate(*arguments, out):
    run = invoke(["evaluate", "preferences", *map(str, arguments), "--out", str(out)])
    assert run.exit_code == 0, run.output
    record = json.loads((out / "report.json").read_text())
    return record, {model["name"]: model for model in record["models"]}


@pytest.fixture
def table():
    """Ten prompts with three pictures each; the ratings follow 2 a + b, b has ties, c is noise."""
    draws = np.random.default_rng(0)
    rows = pd.DataFrame({"prompt": np.repeat(list("qrstuvwxyz"), 3), "image": [f"{row}.png" for row in range(30)]})
    rows = rows.assign(a=draws.normal(size=30), b=draws.integers(0, 3, 30), c=draws.normal(size=30))
    return rows.assign(rating=(2 * rows["a"] + rows["b"]).round())


@pytest.fixture
def file(table, tmp_path):
    table.to_csv(tmp_path / "rated.csv", index=False)
    return tmp_path / "rated.csv"


def by_pairs(table, values):
    """Right, tied by the model, and all pairs that people told apart, one after the other."""
    right = tied = every = 0
    for _, group in table.assign(value=values).groupby("prompt"):
        rows = group[["rating", "value"]].to_numpy()
        for one in range(3):
            for other in range(one):
                people, model = rows[one] - rows[other]
                every += people != 0
                right += people * model > 0
                tied += people != 0 and model == 0
    return right, tied, every


def test_columns_and_weights_by_hand_are_counted_pair_by_pair(table, file, tmp_path):
    record, models = evaluate("--judgements", file, "--scorers", "a,b,c", "--weights", "a=2,b=1", out=tmp_path / "out")
    columns = {name: table[name] for name in "abc"} | {"by hand": 2 * table["a"] + table["b"]}
    assert [*models] == [*columns]
    for name, values in columns.items():
        right, tied, every = by_pairs(table, values)
        assert (models[name]["correct"], models[name]["ties"], record["data"]["pairs"]) == (right, tied, every)
        assert models[name]["accuracy"] == pytest.approx(right / every)
        assert models[name]["half_credit"] == pytest.approx((right + tied / 2) / every)
    assert models["b"]["half_credit"] > models["b"]["accuracy"]
    assert models["by hand"]["seen"] == "by hand"
    assert record["data"]["unit"] == "prompt" and record["data"]["units"] == 9  # all pictures of a prompt are tied
    tied_by_people = 30 - by_pairs(table, table["a"])[2]
    assert [(each["count"], each["what"]) for each in record["exclusions"]] == [(tied_by_people, "pairs")] * bool(
        tied_by_people
    )


def test_shuffled_rows_change_nothing(table, file, tmp_path):
    table.sample(frac=1, random_state=1).to_csv(tmp_path / "shuffled.csv", index=False)
    found = [
        evaluate("--judgements", path, "--scorers", "a,b", out=tmp_path / path.stem)[1]
        for path in (file, tmp_path / "shuffled.csv")
    ]
    for one, other in zip(found[0].values(), found[1].values(), strict=True):
        assert [one[key] for key in ("correct", "ties", "ci95")] == [other[key] for key in ("correct", "ties", "ci95")]


def judged(table):
    return from_ratings(table, prompt="prompt", image="image", rating="rating")


@pytest.fixture
def fitted(table):
    return fit_judged_weights(judged(table), ["a", "b"]).calibration


def seen(table, calibration):
    found = judged_margins(judged(table), "here", ["a", "b"], {"mine": calibration}, {})
    return found.models[-1].seen, found.notes[-1]


def test_a_calibration_that_was_fitted_on_the_very_table_is_not_held_out(table, fitted, tmp_path):
    for same in (table, table.assign(added=range(30)), table.sample(frac=1, random_state=2).assign(added=1)):
        what, why = seen(same, fitted)
        assert what == "in sample" and why.startswith("All of these pairs are among those that mine was fitted on")
    assert seen(table[table["prompt"] < "x"], fitted)[1].startswith("All of these pairs")
    more = pd.concat([table, table.assign(prompt=table["prompt"] + "!")])
    assert seen(more, fitted)[1].startswith("50 % of these pairs are among those")
    for other in (table.assign(prompt=table["prompt"] + "!"), table.assign(image="new/" + table["image"])):
        what, why = seen(other, fitted)
        assert what == "nothing" and why.startswith("mine was fitted on none of these pairs. Pictures and prompts with")
    assert seen(table, by_hand({"a": 1, "b": 1})) == ("by hand", "mine was not fitted: its weights are by hand.")
    without = replace(fitted, fitted_pairs=None)
    assert seen(table, without) == (
        "unknown",
        "mine does not say which pairs it was fitted on: these may be among them.",
    )


def test_judgements_are_recognised_whatever_their_scores_raters_order_and_form(table, fitted, tmp_path):
    again = table.assign(a=table["a"] + 0.1, rater="ann").sample(frac=1, random_state=3)
    assert seen(again, fitted)[1].startswith("All of these pairs")
    found = judged(table)
    told = found.pairs[~found.pairs["tied"]]
    names = found.pictures["image"].to_numpy()
    pairs = pd.DataFrame({"caption": found.pictures["prompt"].to_numpy()[told["better"]]})
    pairs = pairs.assign(chosen=names[told["better"]], rejected=names[told["worse"]], seconds=3)
    read = judgements_in(pairs, JudgementOptions(judgements="table")).judgements
    assert read.unit == "prompt" and sorted(read.pair_hashes()) == sorted(found.pair_hashes())


def test_other_judgements_of_the_same_pictures_are_not_taken_for_those_of_the_fit(table):
    untied = table.assign(rating=table["rating"] + np.tile([0, 0.1, 0.2], 10))
    fitted = fit_judged_weights(judged(untied), ["a", "b"]).calibration
    assert seen(untied.assign(rating=-untied["rating"]), fitted)[0] == "nothing"
    assert seen(untied, fitted)[0] == "in sample"


def test_of_a_large_fit_a_sample_is_compared_and_the_page_says_so(table, fitted):
    hashes = judged(table).pair_hashes()
    others = np.random.default_rng(0).integers(0, 1 << 64, 5000, dtype=np.uint64)
    sampled = replace(fitted, fitted_pairs=PairSketch.of(others))
    few = int((hashes < sampled.fitted_pairs.smallest[-1]).sum())
    what, why = seen(table, sampled)
    assert what == "unknown" and f"only {few} pairs of these can be compared" in why and "too few" in why
    both = replace(fitted, fitted_pairs=PairSketch.of(np.concatenate([others, hashes])))
    assert f"whoever judged them (estimated from {few})" in seen(table, both)[1]


def test_a_calibration_of_arrays_does_not_know_its_pictures():
    judgements = {"winner": [0, 2, 4, 1], "loser": [1, 3, 5, 0], "prompt": ["cat", "dogs", "boat", "cat"]}
    assert fit_weights({"a": [3.0, 2, 5, 1, 4, 2]}, judgements).fitted_pairs is None


def test_raters_of_pairs_that_differ_in_capitals_are_known():
    pairs = pd.DataFrame({"prompt": list("qrs"), "winner": list("abc"), "loser": list("def")})
    found = judgements_in(pairs.assign(rater=["Anna", "bob", "anna "]), JudgementOptions(judgements="table"))
    assert found.judgements.split_raters == [("Anna", "anna ")]


@pytest.mark.parametrize("change", [lambda a: 100 * a, lambda a: a + 9, lambda a: a / 100])
def test_scores_on_another_scale_than_the_fit_are_named(table, fitted, change):
    found = judged_margins(judged(table.assign(a=change(table["a"]))), "here", None, {"mine": fitted}, {})
    assert [note for note in found.notes if "mine was fitted on a of" in note and "another scale" in note]
    similar = judged_margins(judged(table.assign(a=1.5 * table["a"] + 1)), "here", None, {"mine": fitted}, {})
    assert not [note for note in similar.notes if "another scale" in note]


def test_the_command_says_so_and_its_verdict_passes_over_it(file, fitted, tmp_path):
    fitted.save(tmp_path / "mine.json")
    options = ["--judgements", file, "--calibration", tmp_path / "mine.json"]
    _, models = evaluate(*options, out=tmp_path / "out")
    assert [*models] == ["a", "b", "mine.json"]  # the columns that it weighs
    assert models["mine.json"]["seen"] == "in sample"
    text = (tmp_path / "out" / "report.md").read_text()
    assert "THESE PAIRS" in text and "mine.json orders" not in text
    assert "of what was not fitted on them." in text
    assert models["mine.json"]["fitted_on"]["share"] == 1 and models["a"]["fitted_on"] is None


def test_a_part_of_the_judgements_of_a_fit_is_not_called_other_data(table, file, fitted, tmp_path):
    fitted.save(tmp_path / "full.json")
    replace(fitted, fitted_pairs=None).save(tmp_path / "older.json")
    table[table["prompt"] < "z"].to_csv(tmp_path / "part.csv", index=False)
    options = ["--judgements", tmp_path / "part.csv", "--calibration", tmp_path / "full.json"]
    _, models = evaluate(*options, "--calibration", tmp_path / "older.json", out=tmp_path / "out")
    assert models["full.json"]["seen"] == "in sample" and models["older.json"]["seen"] == "unknown"
    text = (tmp_path / "out" / "report.md").read_text()
    assert "other data" not in text and "not known" in text and "json orders" not in text
    assert "highest share of what is known not to have been fitted on them." in text


def test_the_log_odds_are_those_of_the_fit_with_just_the_columns(table, fitted):
    found = judged_margins(judged(table), "here", ["a"], {"mine": fitted}, {})
    (term,) = fitted.fit_for(["a"]).terms
    pairs = judged(table).pairs
    told = pairs[~pairs["tied"]]
    raw = judged(table).pictures["a"].to_numpy()
    wanted = term.weight * (raw[told["better"]] - raw[told["worse"]]) / term.std
    np.testing.assert_allclose(found.models[-1].held_out.margins, wanted)
    assert found.models[-1].held_out.is_log_odds


def test_faces_of_the_raters_count_where_a_calibration_weighs_them(table):
    table = table.assign(au4=np.random.default_rng(5).exponential(size=30), who="ann")
    given = from_ratings(
        table,
        prompt="prompt",
        image="image",
        rating="rating",
        rater="who",
        reactions=["au4"],
        au_source="my-camera",
    )
    terms = (Term("a", 0.0, 2.0, 1.0), Term("au4", -0.3, 0.2, 0.5, 0.4))
    fits = (Fit("a", terms[:1]), Fit("a+au4", terms))
    mine = Calibration("bradley-terry", "my-camera", fits, {}, "0", "", 0)
    found = judged_margins(given, "here", ["a"], {"mine": mine}, {}).models
    assert [model.held_out.model for model in found] == ["a", "mine", "mine+au4"]
    told = given.pairs[~given.pairs["tied"]]
    total = given.pictures["a"] / 2 + 0.5 * (np.exp(-0.4 * given.pictures["au4"]) - 1) / 0.2
    wanted = total.to_numpy()[told["better"]] - total.to_numpy()[told["worse"]]
    np.testing.assert_allclose(found[-1].held_out.margins, wanted)
    other = Calibration("bradley-terry", "another", fits, {}, "0", "", 0)
    assert len(judged_margins(given, "here", ["a"], {"mine": other}, {}).models) == 2


def test_raters_are_drawn_where_there_are_several(table, tmp_path):
    many = pd.concat([table.assign(rater=rater) for rater in ("ann", "bob", "cem")])
    many.to_csv(tmp_path / "many.csv", index=False)
    record, _ = evaluate("--judgements", tmp_path / "many.csv", "--scorers", "a", out=tmp_path / "out")
    assert record["data"]["unit"] == "rater" and record["data"]["units"] == 3
    assert record["models"][0]["ci95"] is None  # of fewer than five


@pytest.mark.parametrize(
    ("change", "options", "why"),
    [
        ({}, ["--scorers", "nobody"], "there is no column nobody"),
        ({"a": float("nan")}, ["--scorers", "a"], "a is '' for image"),
        ({"a": 1.0}, ["--scorers", "a"], "a has the same value for every image"),
        ({"a": "good"}, ["--scorers", "a"], "a is 'good' for image"),
        ({}, [], "no calibration weighs a column of the table: name scores by --scorers"),
        ({}, ["--scorers", "a,a"], "--scorers names a 2 times"),
        ({}, ["--scorers", "a", "--dataset", "hpdv2"], "--judgements and --dataset hpdv2 are both given"),
        (
            {},
            ["--scorers", "a", "--data", "x", "--skip-bad"],
            "--data has no use with --judgements; --skip-bad has no use",
        ),
        ({}, ["--scorers", "a", "--weights", "au4=1"], "au4 is an action unit"),
        ({"rating": 1}, ["--scorers", "a"], "people preferred a picture in none"),
    ],
)
def test_mistakes_are_one_sentence(table, change, options, why, tmp_path):
    table.assign(**change).to_csv(tmp_path / "t.csv", index=False)
    run = invoke(["evaluate", "preferences", "--judgements", tmp_path / "t.csv", "--out", tmp_path / "out", *options])
    assert run.exit_code == 2 and why in run.stderr and "Traceback" not in run.output, run.output


def test_a_benchmark_is_given_as_the_dataset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = invoke(["evaluate", "preferences", "--judgements", "hpdv2", "--scorers", "a"])
    assert run.exit_code == 2 and "give --dataset hpdv2" in run.stderr


def test_weights_are_for_judgements():
    run = invoke(["evaluate", "preferences", "--dataset", "hpdv2", "--weights", "pickscore=1"])
    assert run.exit_code == 2 and "--weights is for --judgements" in run.stderr


def test_a_calibration_without_weights_for_just_the_columns_is_refused(table):
    fit = Fit("a+b", (Term("a", 0.0, 1.0, 1.0), Term("b", 0.0, 1.0, 1.0)))
    alone = Calibration("bradley-terry", "none", (fit,), {}, "0", "", 0)
    with pytest.raises(FergiRewardError, match="mine weighs a, b, and there is no b in --scorers: give it, or weights"):
        judged_margins(judged(table), "here", ["a"], {"mine": alone}, {})
    with pytest.raises(FergiRewardError, match="and there is no column b in the table"):
        judged_margins(judged(table.drop(columns="b")), "here", None, {"mine": alone}, {})


def test_prompts_that_differ_in_white_space_or_capitals_are_counted(table):
    prompts = table["prompt"].mask(table.index == 3, "r ").mask(table.index == 7, " S")
    notes = judged_margins(judged(table.assign(prompt=prompts)), "here", ["a"], {}, {}).notes
    assert notes[-1].startswith("2 prompts differ from another in white space or capitals only ('r ', 'r')")


@pytest.mark.parametrize("options", [{}, {"group": "prompt"}], ids=["raters", "groups"])
def test_raters_that_differ_in_capitals_are_counted_also_where_they_have_no_pair(table, options):
    table = table.assign(rater=["Anna", "Anna", "bob"] * 9 + ["Anna", "anna", "bob"])
    found = judgements_in(table, JudgementOptions(judgements="table", **options)).judgements
    notes = judged_margins(found, "here", ["a"], {}, {}).notes
    assert notes[-1].startswith("1 rater differs from another in white space or capitals only ('Anna', 'anna')")


def test_tifa160_gives_the_figures_of_an_independent_count(tmp_path, not_here):
    file = PREFERENCES / "tifa160_annotations_with_scores.json"
    if not file.exists():
        not_here(f"{file} is not there")
    options = ["--judgements", file, "--rating", "human_avg", "--scorers", "clipscore_vitb32,tifa_mplug-large,meteor"]
    record, models = evaluate(*options, out=tmp_path)
    found = {name: (model["correct"], model["ties"], round(model["half_credit"], 3)) for name, model in models.items()}
    assert found == {
        "clipscore_vitb32": (720, 0, 0.695),
        "tifa_mplug-large": (513, 385, 0.681),
        "meteor": (615, 100, 0.642),
    }
    assert record["data"]["pairs"] == 1036 and record["exclusions"][0]["count"] == 564
