import csv
import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fergi_reward.core.errors import FergiRewardError, FergiRewardWarning
from fergi_reward.files.csv_files import Column, read_rows, warn_if_cut, write_rows


@pytest.fixture
def table(tmp_path):
    """Writes a file of bytes or text and reads its rows as (line, cells)."""
    path = tmp_path / "rows.csv"

    def read(content, required=("image", "prompt"), **options):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return [(row.line, list(row.cells.values())) for row in read_rows(path, required, **options)]

    return read


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("image,prompt\n0.png,a cat\n", [(2, ["0.png", "a cat"])]),
        ("\ufeffimage,prompt\r\n0.png,a cat\r\n", [(2, ["0.png", "a cat"])]),
        ("image,prompt\r0.png,a cat\r1.png,a dog", [(2, ["0.png", "a cat"]), (3, ["1.png", "a dog"])]),
        (" image , prompt\n 0.png , a cat \n", [(2, ["0.png", "a cat"])]),
        ('image,prompt\n0.png, "a ""red"", big cat"\n', [(2, ["0.png", 'a "red", big cat'])]),
        ('image,prompt\n\n0.png," two\nlines"\n \n1.png,x\n', [(3, ["0.png", " two\nlines"]), (6, ["1.png", "x"])]),
        ("image,prompt\n001,NA\nnan,1e5\n0.0,True\n", [(2, ["001", "NA"]), (3, ["nan", "1e5"]), (4, ["0.0", "True"])]),
        ("image,prompt\n0.png,a\u2028b\x85c\x0cd\n", [(2, ["0.png", "a\u2028b\x85c\x0cd"])]),
        ("image,prompt\n0.png,\n", [(2, ["0.png", ""])]),
    ],
)  # fmt: skip
def test_what_a_file_says(table, text, rows):
    assert table(text) == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,prompt\n0.png,a red, big cat\n", "line 2: the row has 3 cells where the header has 2: quote a cell"),
        ("image,prompt\n0.png,x\n\n1.png\n", "line 4: the row has 1 cells where the header has 2: give it all"),
        ('image,prompt\n0.png,x\n1.png,"a red cat\n2.png,a dog\n', "line 3: a quote opens and is not closed"),
        ('image,prompt\n0.png,"a red cat\n1.png,a dog\n2.png,"a bird"\n', "line 2: a quote opens and is not closed"),
        ('image,prompt\n0.png,"a red cat\n1.png,a dog\n2.png,"a bird\n', "line 2: a quote in the middle of cell 2"),
        ('image,prompt\n0.png,"a red cat\n1.png,a dog\n2.png,a bird"\n', "line 2: .* '1.png,a dog.*' looks like a row"),
        ('prompt,image\n"a cat,0.png\na dog,1.png\na bird",2.png\n', "line 2: .* 'a cat,0.png' looks like a row"),
        ('image,prompt\n0.png,a 12" disc, and a 7" one\n', "line 2: a quote in the middle of cell 2: put quotes"),
        ('image,prompt\n0.png,"a" cat\n', "line 2: a quote in the middle of cell 2"),
        ("image,image,prompt\n0.png,x,y\n", "line 1: the column image is given twice"),
        ("image,promt\n0.png,x\n", "line 1: unknown column 'promt': did you mean 'prompt'?"),
        ("Image,prompt\n0.png,x\n", "line 1: unknown column 'Image': did you mean 'image'?"),
        ("image,prompt,star\n0.png,x,1\n", "line 1: unknown column 'star': did you mean 'start'?"),
        ("image,prompt,weather\n0.png,x,1\n", "line 1: unknown column 'weather', known are image, prompt, start: del"),
        ("image,prompt,\n0.png,x,\n", "line 1: column 3 has no name"),
        ("image\n0.png\n", "line 1: it needs the columns image, prompt; prompt missing"),
        ("image;prompt\n0.png;x\n", "line 1: the cells are separated by semicolons: save it with commas"),
        ("image;score\n0.png;3,5\n", "line 1: the cells are separated by semicolons: .* and points in numbers"),
        ("image\tprompt\n0.png\tx\n", "line 1: the cells are separated by tabs"),
        ("image,prompt\n", "has a header and no row"),
        ("", "line 1: the file is empty: it needs the columns image, prompt"),
        ("\n \n", "the file is empty"),
        ("image,prompt\n0.png,x\nimage,prompt\n1.png,y\n", "line 3: the row is the header again"),
        ("image,prompt\n0.png,x\n\ufeff1.png,y\n", "line 3 begins with a second byte order mark"),
        ("image,prompt\n0.png,x\0\n", "line 2 holds a NUL"),
        (b"image,prompt\n0.png,x\n1.png,caf\xe9\n", "line 3 is not UTF-8"),
        (b"image,prompt\n0.png,\xed\xa0\x80\n", "line 2 is not UTF-8"),
        ("image,prompt\n".encode("utf-16"), "line 1 begins with the mark of UTF-16"),
        ("image,prompt\n0.png," + "x" * 1_100_000, "line 2 is longer than 1,000,000 characters"),
        ('image,prompt\n0.png,"' + "x\n" * 600_000, "line 2: a quote opens and is not closed"),
    ],
)
def test_a_file_that_could_be_read_in_two_ways_is_refused_with_its_line(table, content, message):
    with pytest.raises(FergiRewardError, match=message):
        table(content, optional=("start",))


def test_a_place_without_a_file(tmp_path):
    for place, message in ((tmp_path, "is no ordinary file"), (tmp_path / "no.csv", "no.csv cannot be read")):
        with pytest.raises(FergiRewardError, match=message):
            list(read_rows(place, ["image"]))


def test_columns_to_carry_and_rows_that_need_not_be(table):
    assert table("image,prompt,mine\n0.png,x,7\n", carried=True) == [(2, ["0.png", "x", "7"])]
    assert table("image,prompt\n", empty=True) == []
    with pytest.raises(FergiRewardError, match="unknown column 'promt': did you mean 'prompt'"):
        table("image,mine,promt\n0.png,x,7\n", carried=True)


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        ("", "is not a number"),
        ("1_000", "is not a number"),
        ("nan", "is not a finite number"),
        ("-1", "is below 0"),
        ("1.5", "is not a whole number"),
        ("1e13", "is beyond 1e\\+12"),
        ('"', None),
    ],
)
def test_numbers_and_names(tmp_path, cell, fault):
    path = tmp_path / "rows.csv"
    path.write_text(f"name,age\n ann ,{cell if fault else '1e1'}\n")
    (row,) = read_rows(path, ["name", "age"], optional=["city"])
    assert (row.text("name"), row["city"]) == ("ann", "")
    if fault is None:
        assert row.number(Column("age", whole=True)) == 10
    else:
        with pytest.raises(FergiRewardError, match=f"rows.csv, line 2, column age: '{cell}' {fault}"):
            row.number(Column("age", whole=True, lowest=0))
    with pytest.raises(FergiRewardError, match="line 2, column city: is empty"):
        row.text("city")


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0")) | st.text("'=+-@\t\r\n\" ,1e.\uff1da")


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3))
@settings(max_examples=300, deadline=None)
def test_what_was_written_is_read_back_and_no_cell_is_a_formula(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "written.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        write_rows(file, ["first one", "other one"], [dict(zip(("first one", "other one"), row)) for row in rows])  # noqa: B905
    try:
        read = [tuple(row.cells.values()) for row in read_rows(path, ["first one", "other one"])]
    except FergiRewardError as error:
        assert "looks like a row" in str(error) or "no ordinary" in str(error)  # as in the tests above
        return
    assert read == rows
    with path.open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if re.match("[=+@\t\r\n\uff1d-]", cell) and not re.fullmatch("[-+0-9.e]+", cell)]


def test_numbers_stay_numbers_and_apostrophes_of_people_stay():
    file = io.StringIO()
    write_rows(file, ["a", "b"], [{"a": -5.5, "b": None}, {"a": "-5.5", "b": "'t is"}, {"a": "-a", "b": True}])
    assert file.getvalue() == "a,b\n-5.5,\n-5.5,'t is\n'-a,True\n"


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("a,b\nx,15", "15"),
        ("a,b\nx, 1", "1"),
        ("a,b\nx,ü", "ü"),
        ("a,b\nx,15\n", None),
        ("a,b\r\nx,15\r\n", None),
        ("a,b\nx,15\n  ", None),
        ('a,b\nx,"15"', None),
        ('a,b\nx,"1\n5"', None),
    ],
)
def test_a_file_that_may_have_been_cut_is_named_with_its_last_cell(tmp_path, text, cell):
    path = tmp_path / "rows.csv"
    path.write_bytes(text.encode())
    if cell is None:
        warn_if_cut(path)  # warnings are errors here
    else:
        with pytest.warns(FergiRewardWarning, match=f"rows.csv ends without a line break.*its last cell, '{cell}', is"):
            warn_if_cut(path)
