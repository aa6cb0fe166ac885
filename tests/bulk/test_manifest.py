import pytest

from fergi_reward.bulk.manifest import Row, counted_rows, folder_rows, read_manifest
from fergi_reward.core.errors import FergiRewardError


def test_a_manifest_carries_its_other_columns(tmp_path):
    path = tmp_path / "manifest.csv"
    path.write_text('user,image,prompt,rank\n001, a/0.png ,"a red, big cat",NA\n')
    (row,) = read_manifest(path)
    assert row == Row(0, "a/0.png", tmp_path / "a" / "0.png", "a red, big cat", {"user": "001", "rank": "NA"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,prompt\n0.png,a red, big cat\n", "line 2: the row has 3 cells where the header has 2"),
        ("image,prompt\n0.png\n", "line 2: the row has 1 cells where the header has 2"),
        ("image,prompt\n0.png,\n", "line 2, column prompt: is empty"),
        ("image,prompt\n ,a\n", "line 2, column image: is empty"),
        ("image,promt\n0.png,a\n", "unknown column 'promt': did you mean 'prompt'"),
        ("image,prompt,reward\n0.png,a,1\n", "has the column reward, which will be computed"),
        ("image,prompt\n", "has a header and no row"),
    ],
)
def test_a_manifest_that_cannot_be_used(tmp_path, text, message):
    path = tmp_path / "manifest.csv"
    path.write_text(text)
    with pytest.raises(FergiRewardError, match=message):
        list(read_manifest(path, ["reward"]))


def folder(place, *names):
    for name in names:
        (place / name).write_bytes(b"")
    return place


def test_numbers_in_names_of_a_folder_order_as_numbers(tmp_path):
    folder(tmp_path, "10.png", "2.png", "0.png", "1.png", "11.png", "a10b2.png", "a9b10.png", "a10b10.png", "01.png")
    names = ["0.png", "01.png", "1.png", "2.png", "10.png", "11.png", "a9b10.png", "a10b2.png", "a10b10.png"]
    prompts = [f"of {name}" for name in names]
    assert [(row.image, row.prompt) for row in folder_rows(tmp_path, prompts)] == list(zip(names, prompts, strict=True))


def test_a_folder_lists_every_format_and_no_hidden_file(tmp_path):
    folder(tmp_path, "a.avif", "b.jp2", "c.JPG", "d.webp", "._a.png", "notes.txt")
    assert [row.image for row in folder_rows(tmp_path, ["x"])] == ["a.avif", "b.jp2", "c.JPG", "d.webp"]


def test_a_folder_that_cannot_be_paired(tmp_path):
    with pytest.raises(FergiRewardError, match="holds no pictures"):
        list(folder_rows(tmp_path, ["x"]))
    folder(tmp_path, "0.png", "1.png", "2.png")
    with pytest.raises(FergiRewardError, match="got 2 prompts for the 3 pictures"):
        list(folder_rows(tmp_path, ["x", "y"]))
    (tmp_path / b"\xff.png".decode("utf-8", "surrogateescape")).write_bytes(b"")
    with pytest.raises(FergiRewardError, match="is not UTF-8: rename it"):
        list(folder_rows(tmp_path, ["x"]))


def test_a_path_of_windows_is_found_and_a_file_of_that_very_name_first(tmp_path):
    (tmp_path / "m.csv").write_text("image,prompt\ncats\\1.png,p\ncats/1.png,p\ncats\\2.png,p\n")
    (tmp_path / "cats\\2.png").write_bytes(b"")
    rows = list(read_manifest(tmp_path / "m.csv"))
    assert [row.source.name for row in rows] == ["1.png", "1.png", "cats\\2.png"]
    assert rows[0].source == rows[1].source == tmp_path / "cats" / "1.png"
    assert counted_rows(lambda: read_manifest(tmp_path / "m.csv"))[:2] == (3, 1)
