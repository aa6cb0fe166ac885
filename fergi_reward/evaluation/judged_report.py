"""Weights from judgements without faces, as people read them."""

from dataclasses import asdict, replace

from fergi_reward.calibration.judged_weights import JudgedWeights
from fergi_reward.data.judgement_files.read import FoundJudgements
from fergi_reward.report.provenance import provenance
from fergi_reward.report.record import Column, Report, Section, Table, Value

WEIGHTS = (
    "Log-odds that one picture is preferred to another, per standard deviation of the score, with the other scores "
    "equal. The interval is a bootstrap over what is left out in turn; where it holds 0 the score may add nothing."
)


def judged_report(found: FoundJudgements, fitted: JudgedWeights) -> Report:
    """The report of `fergi-reward calibrate --judgements`."""
    calibration = fitted.calibration
    fingerprints = {"judgements": calibration.dataset["fingerprint"], "calibration": calibration.fingerprint()}
    return Report(
        title="Weights from judgements",
        verdict=[summary(found, fitted), f"{found.sentence()}; left out in turn: each {found.judgements.unit}."],
        sections=[
            Section("How often the scores agree with people", items=[results_table(found, fitted)]),
            Section("What each score is worth", items=[weights_table(fitted)]),
        ],
        provenance=provenance(calibration.command, calibration.seed, fingerprints),
        data={
            "dataset": calibration.dataset,
            "kind": found.kind,
            "columns": dict(found.columns),
            "results": {name: asdict(replace(each, per_participant={})) for name, each in fitted.results.items()},
            "weights": {each.name: asdict(each) for each in fitted.weights},
        },
    )


def summary(found: FoundJudgements, fitted: JudgedWeights) -> str:
    """One sentence on the data."""
    dataset, unit = fitted.calibration.dataset, found.judgements.unit
    ties = "left out" if fitted.tie_fit is None else f"in the fit, by Davidson's model with nu {fitted.tie_fit.nu:.2f}"
    text = (
        f"{dataset['pairs']:,} pairs of {dataset['images']:,} images, of {len(found.judgements.groups):,} {unit}s; "
        f"{dataset['ties']:,} ties are {ties}."
    )
    if fitted.separable:
        text += " The scores order every pair right, so only the penalty keeps their weights finite."
    return text


def results_table(found: FoundJudgements, fitted: JudgedWeights) -> Table:
    """One row per set of scorers: how it did on what was left out."""
    columns = [
        Column("scores"),
        Column("pairs right", "{0[0]:,}/{0[1]:,}"),
        Column("accuracy", "{:.1%}"),
        Column("95 % interval", "{0[0]:.1%} - {0[1]:.1%}"),
        Column("log-loss", "{:.3f}"),
    ]
    rows: list[list[Value]] = [
        [name, (result.correct, result.pairs), result.accuracy, result.ci95, result.log_loss]
        for name, result in fitted.results.items()
    ]
    return Table(f"Pairs in the right order, each {found.judgements.unit} judged by a fit without it.", columns, rows)


def weights_table(fitted: JudgedWeights) -> Table:
    """One row per scorer: its weight among all of them."""
    columns = [Column("score"), Column("weight", "{:+.3f}"), Column("95 % interval", "{0[0]:+.3f} to {0[1]:+.3f}")]
    rows: list[list[Value]] = [[each.name, each.weight, each.ci95] for each in fitted.weights]
    return Table("Weights of all scores together.", columns, rows, WEIGHTS)
