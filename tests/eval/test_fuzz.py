"""A part of `eval/fuzz.py`: whatever a file holds, it is read or refused."""

from collections import Counter

import pytest


@pytest.mark.filterwarnings("ignore")  # of Pillow and torch, about what they find in damaged files
def test_damaged_files_are_read_or_refused_and_nothing_else() -> None:
    from fuzz import run

    outcomes = sum(run(300).values(), Counter())
    assert {*outcomes} == {"read", "refused"}
