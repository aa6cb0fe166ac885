"""A report as a folder: `report.html` alone is enough to read, the other files are for papers and programs."""

from pathlib import Path

from fergi_reward.core.errors import MissingDependencyError
from fergi_reward.files.atomic import atomic_folder, write_json, write_text
from fergi_reward.files.figure_files import write_figure
from fergi_reward.report.markdown import markdown
from fergi_reward.report.pictures import read_picture
from fergi_reward.report.record import PICTURES, TABLES, Report
from fergi_reward.report.table_files import csv_text, latex

TABLE_FORMS = {".csv": csv_text, ".tex": latex}


def write_report(report: Report, folder: Path | str) -> str:
    """Write `report.json`, `report.md` and `report.html`, each plot as PNG, SVG and PDF, each table as CSV and LaTeX.

    The folders of pictures and tables belong to the report: those of an earlier one are deleted.

    Returns:
        Where it is, for the terminal; without matplotlib or Jinja2 the texts alone are written, and it says so.

    Raises:
        FergiRewardError: The folder cannot be written, or a picture cannot be read.
    """
    folder = Path(folder)
    if report.pictures:
        with atomic_folder(folder / PICTURES) as temporary:
            for picture in report.pictures:
                _, content = read_picture(picture)
                (temporary / Path(report.file_name(picture)).name).write_bytes(content)
    _write_tables(report, folder)
    write_json(folder / "report.json", report.record())
    write_text(folder / "report.md", markdown(report))
    try:
        from fergi_reward.report.page import page
        from fergi_reward.report.plots import draw
    except ImportError as error:
        missing = MissingDependencyError(str(error.name), "drawing and laying out a report", "report")
        return f"report: {folder}/report.md, report.json; no page and no plots, since {missing}"
    for plot in report.plots:
        write_figure(draw(plot), folder, plot.name)
    write_text(folder / "report.html", page(report))
    return f"report: {folder}/report.html, also as report.md and report.json; plots and tables as files next to it"


def _write_tables(report: Report, folder: Path) -> None:
    """The tables of sections are in a folder of their own; the numbers of plots are next to these."""
    with atomic_folder(folder / TABLES) as temporary:
        for name, table in report.tables.items():
            place = temporary if name.startswith(f"{TABLES}/") else folder
            for ending, form in TABLE_FORMS.items():
                write_text(place / f"{Path(name).name}{ending}", form(table))
