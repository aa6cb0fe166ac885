"""What every report has by the one builder, whatever the evaluation."""

from fergi_reward.evaluation.report_builder import Field, Judged, build_report, table
from fergi_reward.evaluation.run_record import Exclusion, RunRecord
from fergi_reward.report.record import Line, Section
from fergi_reward.stats.reliability import Reliability, ReliabilityBin

RUN = RunRecord(notes=("a note",), command="run", seed=3, calibrations={"mine": "00ff"}, checkpoints={"clip": "at 1"})
CURVE = Line("clip", (50.0, 100.0), (90.0, 70.0))


def built(run=RUN, models=()):
    parts = {"first": [Section("Accuracy")], "last": [Section("More")]}
    return build_report(run, "title", ["verdict"], {"data": "11ff"}, {"figure": 1}, models=models, **parts)


def titles(report):
    return [section.title for section in report.sections]


def test_a_report_has_the_provenance_of_its_run_and_no_empty_section():
    report = built()
    assert titles(report) == ["Accuracy", "More"]
    assert report.provenance.fingerprints == {"data": "11ff", "calibration mine": "00ff"}
    assert (report.provenance.versions["scorer clip"], report.provenance.seed, report.notes) == ("at 1", 3, ("a note",))


def test_coverage_reliability_and_what_was_left_out_come_with_the_models():
    reliability = Reliability((ReliabilityBin(0.5, 0.6, 6, 0.55, 0.5),), 0.05, 0.69)
    run = RunRecord(exclusions=(Exclusion(2, "images", "broken", ("a, b", "c")),), **vars_of(RUN))
    report = built(run, [Judged(CURVE, 0.75, reliability), Judged(Line("random", (100.0,), (50.0,)))])
    expected = ["Accuracy", "Accuracy against coverage", "Are the probabilities right?", "More", "What was left out"]
    assert titles(report) == expected
    coverage, reliable = report.plots
    assert [line.name for line in coverage.lines] == ["clip, area 0.750", "random"]
    assert [(line.name, line.x, line.y) for line in reliable.lines] == [("clip", [55.00000000000001], [50.0])]
    assert report.sections[-1].items[0].rows == [["images", 2, "broken", "a, b; c"]]


def vars_of(run):
    names = ("notes", "command", "seed", "calibrations", "checkpoints")
    return {name: getattr(run, name) for name in names}


def test_an_optional_column_without_a_value_is_left_out_and_one_with_a_zero_stays():
    fields = [Field("name", str), Field("none", lambda one: None, optional=True)]
    fields.append(Field("zero", lambda one: 0 if one == "a" else None, optional=True))
    found = table("Caption.", ["a", "b"], fields)
    assert [column.name for column in found.columns] == ["name", "zero"]
    assert found.rows == [["a", 0], ["b", None]]
