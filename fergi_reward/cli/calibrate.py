"""`fergi-reward calibrate`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fergi_reward.calibration.registry import PROTOCOLS
from fergi_reward.cli.command import Answer, command
from fergi_reward.core.command_line import command_line
from fergi_reward.core.options import option
from fergi_reward.data.options import FERGI_PLACE, PreferenceDataOptions


@dataclass(frozen=True, kw_only=True)
class CalibrateOptions(PreferenceDataOptions):
    """The options of `fergi-reward calibrate`."""

    data: str | None = option(
        None,
        f"The FERGI folder or, with --ratings, one that extract wrote. {FERGI_PLACE}",
        metavar="PATH",
        old=("reactions",),
    )
    protocol: str = option("bradley-terry", "How to fit.", names=PROTOCOLS)
    out: Path = option(Path("calibration.json"), "The calibration to write.")
    report: Path | None = option(None, "A folder for report.html, report.md, report.json and plots.")
    seed: int = option(0, "Seed of folds and bootstrap intervals.", at_least=0)
    scorers: Sequence[str] | None = option(None, "For bradley-terry: columns to weigh. [default: the paper's three]")
    aus: Sequence[str] | None = option(
        None, "For bradley-terry: action units to weigh, such as AU4,AU12, or all. [default: AU4]"
    )


@command
def calibrate(options: CalibrateOptions) -> Answer:
    """Fit the weights of the reward to preferences, and validate them on participants who are not in the fit."""
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
    evaluation.calibration.save(options.out)
    check_still_there(preferences, options.data, options.out)
    table = markdown_table(reports.results_table(evaluation))
    text = f"{reports.summary(evaluation)}\n\n{table}\n\ncalibration: {options.out}"
    report = reports.calibration_report(evaluation)
    if options.report is not None:
        text += f"\n{write_report(report, options.report)}"
    notes = [f"left out: {row}" for row in preferences.left_out]
    return Answer(text, {"calibration": str(options.out), **report.record()}, notes)
