"""Plots as SVG within a page: in the page's colours and type, named for screen readers, with values to point at."""

import re
from collections.abc import Iterator
from io import StringIO
from xml.etree import ElementTree

import matplotlib as mpl

from fergi_reward.report.plots import GRID, INK, MUTED, PAPER, SERIES, draw, shown_values
from fergi_reward.report.record import Plot

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
# Colours in the file, and what the page calls them: it has another value for each in the dark.
VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--line", PAPER: "--paper"} | {
    colour: f"--series-{number}" for number, colour in enumerate(SERIES, start=1)
}


def svg(plot: Plot) -> str:
    """The plot as an `<svg>` element; each mark of a number carries it in `data-tip`."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": plot.name}):
        file = StringIO()
        draw(plot).savefig(file, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(file.getvalue())
    _name(root, plot)
    for number, texts in enumerate(shown_values(plot)):
        for mark, text in zip(_marks(root, f"values-{number}"), texts, strict=True):
            mark.set("data-tip", text)
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    return _in_page(ElementTree.tostring(root, encoding="unicode"), plot.name)


def _name(root: ElementTree.Element, plot: Plot) -> None:
    """A title and a description in place of matplotlib's metadata; the size is the page's affair."""
    for child in root.findall(f"{{{SVG}}}metadata"):
        root.remove(child)
    for style in root.iterfind(f"{{{SVG}}}defs/{{{SVG}}}style"):
        style.text = ""  # it would rule the whole page
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.set("role", "img")
    root.set("aria-labelledby", "title description")
    description = ElementTree.Element(f"{{{SVG}}}desc", id="description")
    description.text = f"{plot.numbers().caption}. All numbers are in the table below."
    title = ElementTree.Element(f"{{{SVG}}}title", id="title")
    title.text = plot.title
    root[:0] = [title, description]


def _marks(root: ElementTree.Element, group: str) -> Iterator[ElementTree.Element]:
    """What is drawn for the numbers of a group, in their order."""
    found = next(root.iterfind(f".//*[@id='{group}']"))
    defined = set(found.iterfind(f".//{{{SVG}}}defs/*"))
    drawn = {f"{{{SVG}}}use", f"{{{SVG}}}path"}
    yield from (element for element in found.iter() if element.tag in drawn and element not in defined)


def _in_page(text: str, name: str) -> str:
    """Ids that no other plot of the page has, the page's colours, and no font of its own."""
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(url\(#|href="#)', rf"\1{name}-", text)
    text = text.replace('aria-labelledby="title description"', f'aria-labelledby="{name}-title {name}-description"')
    text = re.sub(r"font-family: [^;\"]+", "font-family: var(--font)", text)
    for colour, variable in VARIABLES.items():
        text = re.sub(colour, f"var({variable})", text, flags=re.IGNORECASE)
    return text
