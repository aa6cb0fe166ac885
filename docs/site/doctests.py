"""Examples in docstrings are shown as code, with its colours: a hook of griffe, which reads the docstrings."""

import re
from textwrap import dedent, indent
from typing import Any

from griffe import Extension, Object

# From the first prompt to an empty line.
DOCTEST = re.compile(r"^( *)>>> .+(?:\n(?!\s*$).+)*", re.M)
# A line that ends in two colons, and what is indented below it.
LITERAL = re.compile(r"^( *)(\S.*)::\n\n((?:\1 +\S.*(?:\n|\Z)|[ ]*\n)+)", re.M)


class Doctests(Extension):
    """Fences around each doctest, and around each literal block."""

    def on_object(self, *, obj: Object, **_: Any) -> None:  # noqa: ANN401  # as griffe calls it
        """Change the docstring of whatever has one."""
        if obj.docstring:
            fenced = LITERAL.sub(_fenced, obj.docstring.value)
            obj.docstring.value = DOCTEST.sub(r"\1```pycon\n\g<0>\n\1```", fenced)


def _fenced(found: re.Match[str]) -> str:
    space, title, code = found.groups()
    title = title.replace("Example", "For example")  # "Example:" alone would begin a section
    block = f"{title}:\n\n```python\n{dedent(code).strip()}\n```\n\n"
    return indent(block, space)
