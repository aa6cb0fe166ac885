"""How many things there are, in words."""


def counted(number: int, unit: str) -> str:
    """A number of things.

    >>> counted(1, "prompt"), counted(3734, "pair")
    ('1 prompt', '3,734 pairs')
    """
    return f"{number:,} {unit if number == 1 else plural(unit)}"


def plural(unit: str) -> str:
    """The plural of a regular noun.

    >>> [plural(unit) for unit in ("prompt", "category", "day", "class", "batch")]
    ['prompts', 'categories', 'days', 'classes', 'batches']
    """
    if unit.endswith("y") and unit[-2:-1] not in "aeiou":
        return f"{unit[:-1]}ies"
    return f"{unit}es" if unit.endswith(("s", "x", "z", "ch", "sh")) else f"{unit}s"
