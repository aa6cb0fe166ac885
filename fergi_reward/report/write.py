"""A report as a folder: `report.html` alone is enough to read, the other files are for papers and programs."""

from pathlib import Path

from fergi_reward.core.errors import MissingDependencyError
from fergi_reward.files.atomic import atomic_folder, atomic_path, write_json, write_text
from fergi_reward.report.markdown import markdown
from fergi_reward.report.pictures import read_picture
from fergi_reward.report.record import PICTURES, Report


def write_report(report: Report, folder: Path | str) -> str:
    """Write `report.json`, `report.md` with its plots (`NAME.png`) and pictures, and `report.html`.

    The folder of the pictures belongs to the report: those of an earlier one are deleted.

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
    write_json(folder / "report.json", report.record())
    write_text(folder / "report.md", markdown(report))
    try:
        from fergi_reward.report.page import page
        from fergi_reward.report.plots import draw
    except ImportError as error:
        missing = MissingDependencyError(str(error.name), "drawing and laying out a report", "report")
        return f"report: {folder}/report.md, report.json; no page and no plots, since {missing}"
    for plot in report.plots:
        with atomic_path(folder / f"{plot.name}.png") as path:
            draw(plot).savefig(path, dpi=144)
    write_text(folder / "report.html", page(report))
    return f"report: {folder}/report.html, also as report.md, report.json and PNG plots"
