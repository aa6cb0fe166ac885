"""The report of weights from judgements: what readers must know stands in it, with the numbers that they need."""

import numpy as np
import pandas as pd
import pytest

from fergi_reward.calibration.judged_weights import fit_judged_weights
from fergi_reward.data.judgement_files.read import FoundJudgements
from fergi_reward.data.judgements import from_ratings
from fergi_reward.evaluation.judged_report import judged_report
from fergi_reward.report.markdown import printed
from fergi_reward.report.record import IntervalPlot, Table


def drawn(*, prompts=30, noise=1.0):
    """Ratings in whole numbers that follow `a`; `b` says nothing, and `c` has few values."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(4 * prompts, 2)), columns=["a", "b"])
    rating = (table["a"] + noise * rng.gumbel(size=len(table))).round(0 if noise else 9)
    return table.assign(
        c=table["a"].round(), prompt=np.arange(len(table)) // 4, image=np.arange(len(table)), rating=rating
    )


def reported(table, scorers, **options):
    judgements = from_ratings(table, prompt="prompt", image="image", rating="rating")
    found = FoundJudgements(judgements, "ratings", {"rating": "rating"}, {})
    fitted = fit_judged_weights(judgements, scorers, **options)
    return fitted, judged_report(found, fitted)


def tables(report):
    return [item for section in report.sections for item in section.items if isinstance(item, Table)]


def drawn_weights(report):
    (plot,) = [item for section in report.sections for item in section.items if isinstance(item, IntervalPlot)]
    return plot


def test_ties_of_scores_and_of_people_stand_in_the_tables():
    fitted, report = reported(drawn(), ["c"], ties="davidson")
    result, fit = fitted.results["c"], fitted.tie_fit
    (row,) = tables(report)[0].rows
    half = (result.correct + result.ties / 2) / result.pairs
    counted = [(result.correct, result.pairs), result.accuracy, result.ci95, result.ties, half]
    assert row[1:] == [*counted, result.log_loss, fit.log_losses["c"]]
    assert result.ties > 0 and "must not be compared" in tables(report)[0].note
    assert f"ties are in the fit, by Davidson's model with nu {fit.nu:.2f}" in report.verdict[0]
    assert report.record()["ties"]["nu"] == fit.nu and report.record()["results"]["c"]["half_credit"] == half


def test_without_a_model_of_ties_there_is_one_log_loss():
    _, report = reported(drawn(), ["c"])
    assert len(tables(report)[0].rows[0]) == 7 and "three outcomes" not in printed(report)
    assert "ties are left out" in printed(report)


def test_points_of_few_pairs_are_neither_drawn_nor_without_their_number():
    fitted, report = reported(drawn(), ["a"])
    coverage, reliability = report.plots[1:]
    (line,), (bins,) = coverage.lines, reliability.lines
    pairs = fitted.results["a"].pairs
    assert 20 <= line.counts[0] < 23 and line.counts[-1] == sum(bins.counts) == pairs
    assert min(bins.counts) >= 20 and line.x[0] == pytest.approx(100 * line.counts[0] / pairs)
    assert "pairs" in [column.name for column in reliability.numbers().columns]


def test_what_may_be_worth_nothing_is_named_and_drawn_apart():
    fitted, report = reported(drawn(), ["a", "b"])
    assert [each.says_nothing for each in fitted.weights] == [False, True]
    assert report.verdict[-1] == "May be worth nothing in addition to the others (the interval holds 0): b."
    plot = drawn_weights(report)
    assert [each.group for each in plot.estimates] == ["worth something", "may be worth nothing"]
    assert plot.chance == 0 and plot.estimates[0].interval == fitted.weights[0].ci95
    assert "30 prompts" in plot.label


def test_a_weight_below_0_is_drawn_as_one_that_counts_against():
    _, report = reported(drawn().assign(a=lambda rows: -rows["a"]), ["a"])
    assert [each.group for each in drawn_weights(report).estimates] == ["counts against a picture"]


def test_judgements_that_were_read_the_wrong_way_round_are_said_first_and_without_praise():
    table = drawn().assign(d=lambda rows: rows["a"] + rows["b"])
    _, report = reported(table.assign(rating=-table["rating"]), ["a", "d"])
    assert report.verdict[0].endswith("the judgements were read the wrong way round.")
    assert "than equal ones" not in " ".join(report.verdict)
    _, right = reported(table, ["a", "d"])
    assert "wrong way round" not in printed(right) and "equal ones" in " ".join(right.verdict)


def test_no_verdict_is_drawn_of_few_prompts():
    fitted, report = reported(drawn(prompts=19, noise=0.2), ["a"])
    assert not fitted.weights[0].says_nothing
    assert [each.group for each in drawn_weights(report).estimates] == ["too few prompts for a verdict"]
    assert "19 prompts" in drawn_weights(report).label


def test_weights_that_are_all_0_are_said_to_order_nothing():
    fitted, report = reported(drawn().assign(a=lambda rows: -rows["a"]), ["a"], nonnegative=True)
    assert fitted.results["a"].ties == fitted.results["a"].pairs and fitted.weights[0].weight == 0
    assert "No score has a weight above 0" in printed(report)


@pytest.mark.parametrize(
    ("table", "scorers", "says"),
    [
        (drawn(noise=0), ["a"], "The scores order every pair right"),
        (drawn().assign(b=lambda rows: 3 * rows["a"]), ["a", "b"], "a, b cannot be told from the others"),
        (drawn(prompts=4), ["a"], "Intervals of 4 prompts say little"),
        (
            drawn().assign(prompt=lambda rows: [f"p{'  '[: 1 + (row == 5)]}{row // 4}" for row in rows.index]),
            ["a"],
            "1 prompt differs from another in white space or capitals only ('p 1', 'p  1')",
        ),
    ],
    ids=["separable", "the same twice", "few prompts", "split prompt"],
)
def test_what_makes_weights_doubtful_is_said(table, scorers, says):
    assert says in printed(reported(table, scorers)[1])


def test_a_score_of_which_people_prefer_the_lower_one_says_so_with_how_often_the_higher_one_is_preferred():
    table = drawn().assign(worse=lambda rows: -rows["a"])
    fitted, report = reported(table, ["a", "worse"])
    names = [row[0] for row in tables(report)[0].rows]
    assert names == ["a", "worse (sign turned)", "a+worse", "equal weights"]
    pairs = table.merge(table, on="prompt").query("rating_x > rating_y")
    right = int((pairs["worse_x"] > pairs["worse_y"]).sum())
    assert f"prefer the higher one in {right:,} of {len(pairs):,} pairs" in printed(report)
    assert fitted.results["worse"].correct == len(pairs) - right
    assert report.record()["turned"] == ("worse",)


def test_equal_weights_are_judged_on_each_left_out_prompt_by_the_scale_of_the_others():
    table = drawn(prompts=12, noise=0.3).assign(d=lambda rows: 5 * rows["b"] ** 3)
    fitted, report = reported(table, ["a", "d"])
    pairs = table.merge(table, on="prompt").query("rating_x > rating_y")
    right, counted = 0, 0
    for prompt, of in pairs.groupby("prompt"):
        others = pairs[pairs["prompt"] != prompt]
        total = 0
        for name in ("a", "d"):
            scale = pd.concat([others[f"{name}_x"], others[f"{name}_y"]]).std()
            total = total + (of[f"{name}_x"] - of[f"{name}_y"]) / scale
        right, counted = right + int((total > 0).sum()), counted + len(of)
    row = tables(report)[0].rows[-1]
    assert row[:2] == ["equal weights", (right, counted)] and row[-1] is None
    gain = 100 * (fitted.results["a+d"].correct - right) / counted
    assert gain > 1 and f"are right on {gain:.1f} points more pairs than equal ones" in printed(report)
    assert fitted.equal.ci95[0] <= fitted.equal.gain <= fitted.equal.ci95[1]


@pytest.mark.parametrize("ties", ["leave_out", "davidson"])
def test_what_is_lost_without_a_score_is_the_difference_of_the_accuracies_with_its_interval(ties):
    scorers = ["a", "b", "c"]
    fitted, report = reported(drawn(), scorers, ties=ties)
    everything = fitted.results["a+b+c"].accuracy
    for row in tables(report)[1].rows:
        others = "+".join(name for name in scorers if name != row[0])
        difference = 100 * (everything - fitted.results[others].accuracy)
        assert row[3] == pytest.approx(difference, abs=1e-9) and row[4][0] <= row[3] <= row[4][1]
        assert report.record()["lost_without"][row[0]]["difference"] == pytest.approx(difference / 100)
    alone = fitted.results["b+c"].per_participant.values(), fitted.results["a+b+c"].per_participant.values()
    gains = np.array([more["correct"] - less["correct"] for less, more in zip(*alone, strict=True)])
    counts = np.array([each["pairs"] for each in fitted.results["a+b+c"].per_participant.values()])
    draws = np.random.default_rng(1).integers(len(gains), size=(4000, len(gains)))
    bounds = np.quantile(gains[draws].sum(axis=1) / counts[draws].sum(axis=1), [0.025, 0.975])
    np.testing.assert_allclose(fitted.lost["a"].ci95, bounds, atol=0.02)


def test_one_score_and_sets_that_were_not_fitted_have_no_loss():
    assert not reported(drawn(), ["a"])[0].lost
    table = drawn().assign(**{name: np.random.default_rng(ord(name)).normal(size=120) for name in "defg"})
    fitted, report = reported(table, list("abdefg"))
    assert not fitted.lost and len(tables(report)[1].columns) == 3


@pytest.mark.parametrize("raters", [5, 20], ids=["few raters", "many raters"])
def test_raters_of_the_same_prompts_say_nothing_of_new_prompts_and_a_note_says_what_does(raters):
    notes = by_raters([drawn(prompts=20)] * raters)
    assert notes[-1].startswith("The fit without a rater had the prompts and pictures")
    assert "--group 'the prompt' leaves out each of the 20 prompts instead" in notes[-1]


def test_few_raters_with_prompts_of_their_own_are_told_to_leave_out_prompts():
    own = [drawn(prompts=5).assign(prompt=lambda rows, rater=rater: rows["prompt"] + 9 * rater) for rater in range(5)]
    notes = by_raters(own)
    assert notes[-1] == "There are 25 prompts: with --group 'the prompt' each of them is left out in turn instead."


def by_raters(of_each):
    table = pd.concat([of.assign(rater=f"rater {number}") for number, of in enumerate(of_each)])
    judgements = from_ratings(table, prompt="prompt", image="image", rating="rating", rater="rater")
    found = FoundJudgements(judgements, "ratings", {"prompt": "the prompt", "rating": "rating"}, {})
    return judged_report(found, fit_judged_weights(judgements, ["a"])).notes
