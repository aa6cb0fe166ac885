"""Examples in docstrings, which are doctests, are shown as code: a hook of griffe, which reads the docstrings."""

import re
from typing import Any

from griffe import Extension, Object

# From the first prompt to an empty line.
DOCTEST = re.compile(r"^( *)>>> .+(?:\n(?!\s*$).+)*", re.M)


class Doctests(Extension):
    """Fences around each doctest."""

    def on_object(self, *, obj: Object, **_: Any) -> None:  # noqa: ANN401  # as griffe calls it
        """Change the docstring of whatever has one."""
        if obj.docstring:
            obj.docstring.value = DOCTEST.sub(r"\1```pycon\n\g<0>\n\1```", obj.docstring.value)
