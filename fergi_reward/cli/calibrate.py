"""`fergi-reward calibrate`."""

from pathlib import Path
from typing import TYPE_CHECKING

from fergi_reward.cli.command import Answer, command
from fergi_reward.core.command_line import command_line
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.evaluation.options import CalibrateOptions

if TYPE_CHECKING:
    from fergi_reward.calibration.calibration import Calibration


@command
def calibrate(options: CalibrateOptions) -> Answer | None:
    """Fit the weights of the reward to preferences, and validate them on people or prompts that are not in the fit."""
    return _from_viewers(options) if options.judgements is None else _from_judgements(options)


def _from_judgements(options: CalibrateOptions) -> Answer | None:
    """Weights of scorers from judgements without faces."""
    from fergi_reward.calibration.judged_weights import fit_judged_weights
    from fergi_reward.evaluation.judged_report import judged_report
    from fergi_reward.evaluation.judged_scores import read_scored
    from fergi_reward.evaluation.rater_agreement import disagreements, how_to_leave_out
    from fergi_reward.report.markdown import printed
    from fergi_reward.report.write import write_report

    scored = read_scored(options)
    if scored is None:  # another process prints it
        return None
    found = scored.found
    try:
        fitted = fit_judged_weights(
            found.judgements,
            scored.scorers,
            nonnegative=options.nonnegative,
            ties=options.ties,
            rater_sensitivity=options.rater_sensitivity,
            seed=options.seed,
            command=command_line(),
            scored_by=scored.scored_by,
        )
    except FergiRewardError as error:
        for remark in found.remarks:  # what was left out may be the reason
            error.add_note(remark.removesuffix("."))
        raise
    replaced = _save(fitted.calibration, options.out)
    disagreeing = disagreements(found.judgements)
    report = judged_report(found, fitted, scored.checkpoints, len(disagreeing))
    text = f"{printed(report)}\ncalibration: {options.out}"
    if options.report is not None:
        text += f"\n{write_report(report, options.report)}"
    advice = how_to_leave_out(disagreeing, found.columns.get("rater", ""), Path(str(options.judgements)))
    notes = [*scored.notes, *disagreeing.values(), *advice, *replaced]
    values = {"calibration": str(options.out), **report.record()}
    if scored.errors is None:
        return Answer(text, values, notes)
    return Answer(text, values | {"errors": str(scored.errors)}, notes, status=3)


def _from_viewers(options: CalibrateOptions) -> Answer:
    """Weights of scorers and action units, from viewers whose faces were seen."""
    from fergi_reward.calibration.protocols import calibrate as run
    from fergi_reward.data.layouts import check_still_there, read_preferences
    from fergi_reward.evaluation import calibration_report as reports
    from fergi_reward.files.csv_numbers import BadRows
    from fergi_reward.report.markdown import markdown_table
    from fergi_reward.report.write import write_report

    preferences = read_preferences(
        options.data,
        options.ratings,
        au_source=options.au_source,
        source_map=options.source_map,
        from_frames=options.from_frames,
        bad=BadRows(options.skip_bad),
    )
    units = None if options.aus is None else [name.lower() for name in options.aus]
    columns = None if options.scorers is None else list(options.scorers)
    evaluation = run(
        preferences, options.protocol, scorers=columns, aus=units, seed=options.seed, command=command_line()
    )
    replaced = _save(evaluation.calibration, options.out)
    check_still_there(preferences, options.data, options.out)
    table = markdown_table(reports.results_table(evaluation))
    text = f"{reports.summary(evaluation)}\n\n{table}\n\ncalibration: {options.out}"
    report = reports.calibration_report(evaluation)
    if options.report is not None:
        text += f"\n{write_report(report, options.report)}"
    notes = [*(f"left out: {row}" for row in preferences.left_out), *replaced]
    return Answer(text, {"calibration": str(options.out), **report.record()}, notes)


def _moved(former: "Calibration", calibration: "Calibration") -> str:
    """From what to what the weights of all terms together moved; nothing where the terms are others."""
    old, new = (max(each.fits, key=lambda fit: len(fit.terms)) for each in (former, calibration))
    if old.labels != new.labels:
        return ""
    both = zip(new.labels, old.terms, new.terms, strict=True)
    return ": " + ", ".join(f"{name} {before.weight:+.4g} -> {now.weight:+.4g}" for name, before, now in both)


def _save(calibration: "Calibration", out: Path) -> list[str]:
    """Write the weights, and say which other ones they replace."""
    from fergi_reward.calibration.calibration import Calibration

    notes = []
    if out.is_file():
        try:
            former = Calibration.load(out)
            if (fingerprint := former.fingerprint()) != calibration.fingerprint():
                made = f", made by `{former.command}`" if former.command else ""
                notes = [f"{out} had other weights (fingerprint {fingerprint[:16]}{made}), which are replaced"]
                notes[0] += _moved(former, calibration)
        except FergiRewardError:
            notes = [f"{out} was no calibration that can be read, and is replaced"]
    calibration.save(out)
    return notes
