"""`fergi-reward evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from fergi_reward.cli.command import Answer, command
from fergi_reward.core.command_line import command_line
from fergi_reward.evaluation.options import CompareModelsOptions, PreferenceOptions

if TYPE_CHECKING:
    from fergi_reward.report.record import Report

app = App(name="evaluate", help="Evaluate rewards and tuned models, with intervals.")


@app.command
@command(resumes=True)
def preferences(options: PreferenceOptions) -> Answer | None:
    """Report how often scorers and calibrations agree with people; resumes where it was stopped.

    Several processes share the work.
    """
    from fergi_reward.data.layouts import check_still_there
    from fergi_reward.evaluation.preferences import run, viewed_by_people
    from fergi_reward.evaluation.preferences_report import preferences_report

    viewed = viewed_by_people(options)
    result = run(options, viewed, command_line())
    if result is None:  # another process prints it
        return None
    answer = _written(preferences_report(result), options.out)
    if viewed is not None:
        check_still_there(viewed, options.data, options.out)
    return answer


@app.command
@command(resumes=True)
def models(options: CompareModelsOptions) -> Answer | None:
    """Compare tuned models with their base, by what they were not trained on; resumes where it was stopped."""
    from fergi_reward.evaluation.compare_models import run
    from fergi_reward.evaluation.models_report import models_report

    result = run(options, command_line())
    if result is None:  # another process prints it
        return None
    return _written(models_report(result, options.out), options.out)


def _written(report: "Report", folder: Path) -> Answer:
    """A report as far as a terminal can show it; its files are written."""
    from fergi_reward.report.markdown import printed
    from fergi_reward.report.write import write_report

    text = f"{printed(report)}\n{write_report(report, folder)}"
    return Answer(text, report.record())
