"""A report as one HTML page that needs nothing else: no network, no other file."""

import re
from base64 import b64encode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from fergi_reward.report.pictures import read_picture
from fergi_reward.report.record import Picture, Report, Table, Value
from fergi_reward.report.svg import svg


def page(report: Report) -> str:
    """The report as HTML."""
    environment = Environment(
        loader=PackageLoader("fergi_reward.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    functions = {"data_url": data_url, "sort_key": sort_key, "anchor": anchor, "breakable": breakable, "prose": prose}
    return environment.get_template("page.html.j2").render(
        report=report, svg=lambda plot: Markup(svg(plot)), **functions
    )


def data_url(picture: Picture) -> str:
    """The picture within the page."""
    media_type, content = read_picture(picture)
    return f"data:{media_type};base64,{b64encode(content).decode()}"


def sort_key(table: Table, column: int, value: Value) -> str:
    """What a cell is sorted by: the first of several numbers; nothing for text, which is sorted as it is shown."""
    if value is None or not table.is_number(column):
        return ""
    return str(value[0] if isinstance(value, tuple) else value)


def breakable(text: str) -> Markup:
    """Text that may be broken within names such as those of models, and not within a number.

    >>> breakable("weighted_sum+au4")
    Markup('weighted_<wbr>sum+<wbr>au4')
    >>> breakable("1 to 2e-05")
    Markup('1 to <span class="whole">2e-05</span>')
    >>> breakable("73 : 0 : 7")
    Markup('<span class="whole">73 : 0 : 7</span>')
    """
    whole = re.sub(r"\S*\de[-+]\d+|\d+ : \d+ : \d+", r'<span class="whole">\g<0></span>', str(escape(text)))
    return Markup(re.sub(r"(?<=[a-z])([_+])(?=\w)", r"\1<wbr>", whole))


def prose(text: str) -> Markup:
    """A sentence, with what stands between backticks as code, and no line between a number and its percent sign.

    >>> prose("see `a <b>`")
    Markup('see <code>a &lt;b&gt;</code>')
    """
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)).replace(" %", "&nbsp;%")))


def anchor(number: int, title: str) -> str:
    """The id of a section; its number comes first, since two titles may read alike, or like another id of the page.

    >>> anchor(2, "What the signals measure")
    '2-what-the-signals-measure'
    """
    return "-".join([str(number), *"".join(letter if letter.isalnum() else " " for letter in title.lower()).split()])
