"""How many things there are, in words."""


def counted(number: int, unit: str) -> str:
    """A number of things.

    >>> counted(1, "prompt"), counted(3734, "pair")
    ('1 prompt', '3,734 pairs')
    """
    return f"{number:,} {unit}" if number == 1 else f"{number:,} {unit}s"
