import json
from dataclasses import replace

import pytest

from fergi_reward.evaluation.preferences_report import preferences_report
from fergi_reward.evaluation.preferences_result import (
    Comparison,
    Data,
    ModelResult,
    PreferenceResult,
    PublishedFigure,
)
from fergi_reward.evaluation.run_record import Exclusion
from fergi_reward.report.markdown import markdown
from fergi_reward.stats.coverage import Coverage
from fergi_reward.stats.held_out import HeldOutResult
from fergi_reward.stats.reliability import Reliability, ReliabilityBin
from tests.command_line import invoke

pytest.importorskip("matplotlib", reason="plots come with the extra report")
from fergi_reward.report.page import page

PROGRAM = "fergi-reward evaluate preferences"
BINS = (ReliabilityBin(0.5, 0.6, 6, 0.55, 0.5), ReliabilityBin(0.6, 0.7, 4, 0.65, 1.0))


def model(name, correct, seen="nothing", kind="scorer", **options):
    coverage = Coverage((0.5, 1.0), (0.8, correct / 10), 0.7)
    values = {"as_published": correct / 10, "published": None} | options
    bounds, viewers = (correct / 10 - 0.1, correct / 10 + 0.1), {str(viewer): {} for viewer in range(33)}
    found = HeldOutResult(correct, 1, 10, correct / 10, bounds, coverage, values.pop("reliability", None), viewers)
    return ModelResult(name, kind, seen, found, **values)


@pytest.fixture
def result():
    fitted = model("mine", 9, "in sample", "calibration", reliability=Reliability(BINS, 0.12, 0.65))
    return PreferenceResult(
        data=Data("fergi", "FERGI", "/home/ann smith/fergi", None, "participant", 33, 20, 10, "00ff"),
        models=(model("clip", 6), model("pickscore", 7, published=0.702), fitted),
        comparisons=(Comparison("clip", "pickscore", 1, 2, 0.6, -0.1, (-0.3, 0.1), 0.7, None),),
        exclusions=(Exclusion(2, "images", "cannot be opened", ("a.png", "b.png")),),
        published=(PublishedFigure("a human", 0.68, "the PickScore paper"),),
        protocol=("Ties count as half.",),
        notes=("The figures of mine flatter it.",),
        command=f"{PROGRAM} --data '/home/ann smith/fergi'",
        seed=0,
        calibrations={"mine": "01ff"},
        checkpoints={"clip": "org/clip at 02ff"},
    )


def test_the_verdict_rests_on_models_that_had_not_seen_the_pairs(result):
    best, lead, _ = preferences_report(result).verdict
    assert best.startswith("pickscore orders 70.0% of the pairs as people did (95 % interval 60.0% to 80.0%)")
    assert lead == "It leads clip by 10.00 points (-10.00 to 30.00), which may be chance."


def test_a_lead_beyond_its_interval_is_more_than_chance(result):
    sure = replace(result.comparisons[0], ci95=(-0.15, -0.05))
    assert (
        "(5.00 to 15.00), which is more than chance"
        in preferences_report(replace(result, comparisons=(sure,))).verdict[1]
    )


def test_without_an_interval_or_of_few_units_nothing_is_said_of_chance(result):
    unsaid = "It leads clip by 10.00 points; whether that is chance cannot be said."
    without = replace(result, comparisons=(replace(result.comparisons[0], ci95=None),))
    assert preferences_report(without).verdict[1] == unsaid
    sure = replace(result.comparisons[0], ci95=(-0.15, -0.05))
    few = replace(result, data=replace(result.data, units=19), comparisons=(sure,))
    assert preferences_report(few).verdict[1] == unsaid
    equal = replace(result.comparisons[0], difference=0.0)
    assert preferences_report(replace(result, comparisons=(equal,))).verdict[1] == "clip is right as often."


def test_everything_of_the_record_is_shown(result):
    text = markdown(preferences_report(result))
    for part in (
        "| pickscore |          7/10 |      1 |     70.00% |",
        "THESE PAIRS |",
        "| clip less pickscore |       -10.00 |  -30.0 to +10.0 |            1 : 2 |",
        "| a human |      68.0% | the PickScore paper |",
        "Ties count as half.",
        "| images |          2 | cannot be opened | a.png; b.png |",
        "| mine    |     0.6500 |                        0.120 |",
        "- The figures of mine flatter it.",
        "- dataset, its pairs: 00ff",
        "- calibration mine: 01ff",
        "- scorer clip: org/clip at 02ff",
    ):
        assert part in text, part


def test_no_private_folder_is_printed(result):
    report = preferences_report(result)
    assert "ann " not in page(report) + markdown(report) + json.dumps(report.record())
    assert (report.data["data"]["place"], report.data["command"]) == ("fergi", f"{PROGRAM} --data fergi")


def test_the_command_prints_and_writes_it(simulated, tmp_path):
    run = invoke(["evaluate", "preferences", "--data", str(simulated), "--out", str(tmp_path)])
    assert run.exit_code == 0, run.output
    record = json.loads((tmp_path / "report.json").read_text())
    shown = [(row[0], row[1][0], row[3]) for row in record["page"]["sections"][0]["items"][0]["rows"]]
    assert shown == [(model["name"], model["correct"], model["accuracy"]) for model in record["models"]]
    table = next(line for line in (tmp_path / "report.md").read_text().splitlines() if line.startswith("| shipped"))
    assert table in run.stdout and ".png" not in run.stdout.partition("report: ")[0]
    assert (tmp_path / "report.html").exists()


def test_what_is_not_there_has_no_section(result):
    bare = replace(result, comparisons=(), exclusions=(), published=(), models=result.models[:1])
    assert [section.title for section in preferences_report(bare).sections] == ["Accuracy", "Accuracy against coverage"]
