import csv
import getpass
import json
import platform
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.places import without_folders
from fergi_reward.files.figure_files import FIGURE_FILES, write_figure
from fergi_reward.report.markdown import markdown, markdown_table
from fergi_reward.report.provenance import provenance
from fergi_reward.report.record import Column, ImageGrid, Line, LinePlot, Picture, Report, Section, Table
from fergi_reward.report.table_files import csv_text, latex
from fergi_reward.report.write import write_report

pytest.importorskip("matplotlib", reason="plots come with the extra report")
from fergi_reward.report.plots import draw
from fergi_reward.report.svg import svg


@pytest.fixture(scope="module")
def folder(report, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_report(report, folder)
    return folder


def test_the_folder_holds_the_report_in_every_form(folder):
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    endings = ("png", "svg", "pdf", "csv", "tex")
    plots = {f"{name}.{ending}" for name in ("intervals", "lines", "heat") for ending in endings}
    tables = {"report_tables/01-a-table.csv", "report_tables/01-a-table.tex"}
    pictures = {"report_pictures/001.png", "report_pictures/002.png"}
    assert files == {"report.html", "report.md", "report.json"} | pictures | plots | tables


def test_pictures_of_an_earlier_report_are_deleted_and_nobody_elses(report, tmp_path):
    own = tmp_path / "pictures" / "001.png"
    for path in (own, tmp_path / "report_pictures" / "009.png"):
        path.parent.mkdir()
        path.write_bytes(b"earlier")
    write_report(report, tmp_path)
    assert own.read_bytes() == b"earlier"
    assert sorted(path.name for path in (tmp_path / "report_pictures").iterdir()) == ["001.png", "002.png"]


def test_all_forms_say_the_same(folder):
    record = json.loads((folder / "report.json").read_text())
    table = record["page"]["sections"][0]["items"][0]
    assert record["figure"] == 42
    assert table["kind"] == "Table"
    assert table["rows"][1] == ["a", [10, 20], 0.5, "10"]
    assert re.search(r"\| a +\| +10/20 \| +50.0% \| 10 +\|", (folder / "report.md").read_text())
    assert "10/20</td>" in (folder / "report.html").read_text()


def test_links_in_markdown_lead_somewhere(folder):
    links = re.findall(r"\]\(([^)]+)\)", (folder / "report.md").read_text())
    assert len(links) == 3 + 2 + 2 + 3 * 5  # plots, pictures, the table's files, those of plots
    assert all((folder / link).is_file() for link in links)


def test_links_of_the_page_lead_somewhere(folder):
    links = re.findall(r'<a href="([^#"]+)"', (folder / "report.html").read_text())
    assert len(links) == 2 + 3 * 5
    assert all((folder / link).is_file() for link in links)


def test_a_dash_is_explained_where_it_stands(folder):
    reason = "A dash under accuracy: not available."
    for name in ("report.html", "report.md"):
        assert f"A note. {reason}" in (folder / name).read_text()


def test_plots_are_saved_on_white_and_the_same_ones_give_the_same_bytes(report, folder, tmp_path):
    for plot in report.plots:
        write_figure(draw(plot), tmp_path, plot.name)
        for kind in FIGURE_FILES:
            assert (tmp_path / f"{plot.name}.{kind}").read_bytes() == (folder / f"{plot.name}.{kind}").read_bytes()
        with Image.open(folder / f"{plot.name}.png") as png:
            assert png.convert("RGBA").getpixel((1, 1)) == (255, 255, 255, 255)
        assert "fill: #ffffff" in (folder / f"{plot.name}.svg").read_text()


def test_csv_has_all_digits_and_no_dash():
    table = Table("", [Column("a"), Column("b", "{0[0]:.1f}"), Column("c", "{:.1%}")], [("x,\n", (1 / 3, 2), None)])
    rows = list(csv.reader(StringIO(csv_text(table))))
    assert rows == [["a", "b, 1", "b, 2", "c"], ["x,\n", "0.3333333333333333", "2", ""]]


HOSTILE = ['[a] _ ^ ~ \\ {x} $1$ & 5 % #1 <b> "q" |', "*", "\\input{x}", "a\n\n% b", "\x1b[31mé ü", "", "\\end{a}"]


def test_latex_is_escaped():
    columns = [Column("a_b"), Column("%", "{:.1%}"), Column("from - to", "{0[0]:.1f} - {0[1]:+.1f}")]
    table = Table("Of a\n\\end{document}.", columns, [("[x & -1 - y", 0.5, (-1.25, 2)), ("*", None, (1, 2))])
    assert latex(table).splitlines() == [
        r"% needs \usepackage{booktabs,graphicx}",
        r"\begin{table}",
        r"\centering",
        r"\caption{Of a \textbackslash{}end\{document\}. A dash under \%: not available.}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"a\_b & \% & from - to \\",
        r"\midrule",
        r"{}[x \& -1 - y & 50.0\% & $-$1.2--+2.0 \\",
        r"{}* & — & 1.0--+2.0 \\",
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles(report, tmp_path):
    if not subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True, text=True, check=False).stdout:
        pytest.skip("needs LaTeX's booktabs")
    tables = [*report.tables.values(), Table("T.", [Column(name) for name in HOSTILE], [HOSTILE, HOSTILE[::-1]])]
    tables.append(Table("T.", [Column("a wide column")] * 12, [("words in a cell",) * 12]))
    body = "\n\n".join(map(latex, tables))
    text = f"\\documentclass{{article}}\\usepackage{{booktabs,graphicx}}\\begin{{document}}{body}\\end{{document}}"
    (tmp_path / "t.tex").write_text(text)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "Overfull" not in done.stdout, done.stdout[-2000:]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<img src=x onerror=y>", "&lt;img src=x onerror=y>"),
        ("[a](http://b) ![c](d)", r"[a\](http://b) ![c\](d)"),
        ("**bold** & \\[x", r"\*\*bold\*\* &amp; \\[x"),
        ("a\n\n# heading", "a  # heading"),
        ("[0.1, 0.2]", "[0.1, 0.2]"),
        ("# heading", r"\# heading"),
        ("image_reward, `--data [x]`, p < 0.05", "image_reward, `--data [x]`, p &lt; 0.05"),
        ("x``<b>`y``<i>`", r"x\`\`&lt;b>\`y\`\`&lt;i>\`"),
    ],
)
def test_names_and_prompts_are_no_html_and_no_markdown(report, text, shown):
    changed = replace(report, title=text, verdict=[text], notes=[text])
    written = markdown(replace(changed, sections=[Section(text, [text], [Table(text, [Column(text)], [[text]])])]))
    assert written.startswith(f"# {shown}\n\n{shown}\n\n## {shown}\n\n{shown}\n\n**{shown}**")
    assert f"\n- {shown}\n" in written
    assert f"| {shown}" in written


def test_two_runs_write_the_same_bytes(report, folder, tmp_path):
    write_report(report, tmp_path / "again")
    for path in folder.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(folder)).read_bytes(), path.name


def test_without_matplotlib_the_texts_are_written(report, tmp_path, monkeypatch):
    for name in ("fergi_reward.report.page", "fergi_reward.report.plots", "fergi_reward.report.svg"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    said = write_report(report, tmp_path)
    assert "no page and no plots" in said and "pip install 'fergi-reward[report]'" in said
    assert (tmp_path / "report.json").exists()
    assert (tmp_path / "report.md").exists()


@pytest.mark.parametrize(("name", "content"), [("gone.png", None), ("text.png", b"no picture"), ("a.tiff", b"II*")])
def test_a_picture_that_is_none_is_an_error_by_name(report, tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    grid = ImageGrid("Pictures.", [Picture(tmp_path / name, "nothing")])
    broken = Report("Broken", [], [Section("Grid", items=[grid])], report.provenance)
    with pytest.raises(FergiRewardError, match=name):
        write_report(broken, tmp_path / "out")


def test_provenance_names_no_person_and_no_machine():
    home = str(Path.home())
    told = provenance(f"calibrate --data {home}/fergi --out '{home}/my runs/c.json'", 0, {})
    text = str(told)
    assert home not in text
    assert platform.node() not in text
    assert f"/{getpass.getuser()}" not in text
    assert told.machine["processor"]
    assert told.versions["Python"] == platform.python_version()


FORMS = ("{0}", "--out={0}", "mine={0}", "--tuned=mine={0}", "cal:{0}", "{0},{0}")
FOLDERS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="/\0,:"), min_size=1), min_size=1)


@given(st.sampled_from(FORMS), st.sampled_from(["/", "~/", "../"]), FOLDERS)
def test_no_folder_of_a_command_is_printed(form, start, folders):
    command = shlex.join(["run", form.format(start + "/".join([*folders, "c.json"])), "runs/a", "a cat, /imagine"])
    told = shlex.join(["run", form.format("c.json"), "runs/a", "a cat, /imagine"])
    assert without_folders(command) == without_folders(told) == told


def test_a_command_that_no_shell_would_read_has_no_folders_either():
    assert without_folders("run /home/ann/x it's") == shlex.join(["run", "x", "it's"])


def test_every_id_of_the_page_is_there_once(folder):
    ids = re.findall(r' id="([^"]+)"', (folder / "report.html").read_text())
    assert len(ids) == len(set(ids)) and "notes" in ids


def test_marks_are_where_their_numbers_are():
    """Read back from the picture: equal steps in a number are equal steps on the page."""
    plot = LinePlot("steps", "Steps", "x", "y", [Line("a", (0, 1, 2, 3), (5, 6, 8, 8))])
    marks = [mark for mark in ElementTree.fromstring(svg(plot)).iter() if "data-tip" in mark.attrib]
    assert [mark.get("data-tip") for mark in marks] == ["a: 5 at 0", "a: 6 at 1", "a: 8 at 2", "a: 8 at 3"]
    x, y = ([float(mark.get(axis)) for mark in marks] for axis in ("x", "y"))
    assert [b - a for a, b in pairwise(x)] == pytest.approx([x[1] - x[0]] * 3)
    step = y[0] - y[1]
    assert step > 0
    assert [y[0] - value for value in y] == pytest.approx([0, step, 3 * step, 3 * step], abs=1e-3)


def test_numbers_of_lines_with_other_points_stand_below_each_other():
    plot = LinePlot("two", "Two", "x", "y", [Line("a", (0, 1), (1, 2)), Line("b", (5,), (6,))])
    assert plot.numbers().rows == [("a", 0, 1), ("a", 1, 2), ("b", 5, 6)]


def test_numbers_of_a_line_say_of_how_many_things_each_point_is():
    lines = [Line("a", (0, 1), (1, 2), (7, 9)), Line("b", (0, 1), (3, 4), (7, 9))]
    plot = LinePlot("two", "Two", "x", "y", lines, counted="pairs")
    assert [column.name for column in plot.numbers().columns] == ["x", "pairs", "a", "b"]
    assert list(plot.numbers().rows) == [(0, 7, 1, 3), (1, 9, 2, 4)]
    assert "a: 2 at 1 (9 pairs)" in svg(plot)
    other = LinePlot("two", "Two", "x", "y", [lines[0], Line("b", (0, 1), (3, 4))], counted="pairs")
    assert list(other.numbers().rows) == [("a", 0, 1, 7), ("a", 1, 2, 9), ("b", 0, 3, None), ("b", 1, 4, None)]


def test_numbers_stand_to_the_right_in_markdown():
    table = Table("", [Column("name"), Column("n", "{:.1f}")], [("a", 1.0), ("b", None)])
    assert markdown_table(table).splitlines()[-2:] == ["| a      | 1.0 |", "| b      |   — |"]


def test_a_cell_with_a_bar_stays_one_cell():
    table = Table("", [Column("prompt")], [("a|b",)])
    assert markdown_table(table).splitlines()[-1] == "| a\\|b     |"


@pytest.mark.parametrize(
    "names", [[f"AU{unit}" for unit in range(20, 27)], ["a name that is rather long"] * 5, ["a", "b"]]
)
def test_a_legend_stays_within_the_plot(names):
    figure = draw(LinePlot("legend", "Legend", "x", "y", [Line(name, (0, 1), (1, 2)) for name in names]))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    legend = axes.get_legend().get_window_extent()
    assert legend.x0 >= 0 and legend.x1 <= figure.bbox.x1
    assert axes.get_window_extent().width > 0.8 * figure.bbox.width  # nothing was taken from the axes for it


def test_captions_have_the_quotation_marks_of_latex():
    table = Table('Right under "ties as half".', [Column("name")], [("a",)])
    assert "Right under ``ties as half''." in latex(table)
