"""Text that may hold names and prompts of others, as it is safe to print on a terminal."""

import re

# What moves the cursor, changes colours or titles, or turns the order of characters around; and what no encoding has.
_HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def for_terminal(text: str) -> str:
    r"""The text with control characters written as escapes; tabs and line feeds stay.

    Example:
        >>> for_terminal("a \x1b[31mred\x1b[0m cat")
        'a \\x1b[31mred\\x1b[0m cat'
    """
    return _HARMFUL.sub(lambda found: ascii(found[0])[1:-1], text)


def one_line(text: str) -> str:
    r"""The same for a message of one sentence, in which a name must not begin a new line.

    Example:
        >>> one_line("no file a\nb")
        'no file a\\nb'
    """
    return for_terminal(text).replace("\n", "\\n")
