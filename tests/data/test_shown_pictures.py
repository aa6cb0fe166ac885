import json
import os

import pytest
from PIL import Image

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.shown_pictures import Picture, picture_bytes, picture_of, read_pictures


def session(folder, user, number, images, content):
    place = folder / "data" / user / f"session_{number}"
    place.mkdir(parents=True)
    for image in images:
        Image.new("RGB", (4, 4), "red").save(place / f"image{image}.png")
    (place / "data.json").write_text(content)
    return place


def test_the_raw_folder_of_fergi(tmp_path):
    """As FERGI's own preparation reads it: the prompt, the ranking and the survey of a session in data.json."""
    full = {"prompt": "a cat", "ranking": [{"id": 1}, {"id": 0}], "survey": [{"overallRating": 3}]}
    first = session(tmp_path, "001", 1, [1, 2], json.dumps(full))
    later = session(tmp_path, "001", 12, [10], json.dumps({"prompt": "ein Hund, naß"}))
    (first / "image_sketch.png").write_bytes(b"")
    assert read_pictures(tmp_path) == {
        ("001", "1", "1"): Picture(first / "image1.png", "a cat"),
        ("001", "1", "2"): Picture(first / "image2.png", "a cat"),
        ("001", "12", "10"): Picture(later / "image10.png", "ein Hund, naß"),
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "data.json cannot be read"), ("{}", "has the prompt None"), ('{"prompt": 3}', "has the prompt 3")],
)
def test_a_session_needs_its_prompt(tmp_path, content, message):
    session(tmp_path, "001", 1, [1], content)
    with pytest.raises(FergiRewardError, match=message):
        read_pictures(tmp_path)


def test_the_public_part_of_fergi_has_no_pictures(tmp_path):
    (tmp_path / "data" / "001" / "session_1").mkdir(parents=True)
    with pytest.raises(FergiRewardError, match=r"holds no picture .* on request"):
        read_pictures(tmp_path)


def test_a_csv_and_what_is_missing_from_it(tmp_path):
    listed = tmp_path / "pictures.csv"
    listed.write_text("user,session,image,file,prompt\n7,1,2,a.png,a cat\n")
    pictures = read_pictures(listed)
    assert pictures == {("7", "1", "2"): Picture(tmp_path / "a.png", "a cat")}
    with pytest.raises(FergiRewardError, match="no picture is listed for user 7, session 1, image 3"):
        picture_of(pictures, ("7", "1", "3"))
    with pytest.raises(FergiRewardError, match=r"a\.png cannot be read"):
        picture_bytes(pictures["7", "1", "2"])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("7,1,2,a.png", "line 2: the row has 4 cells where the header has 5"),
        ("7,1,2,a.png,a red, big cat", "line 2: the row has 6 cells where the header has 5"),
        ("7,1,2,a.png,", "line 2, column prompt: is empty"),
        ("7,1,2,a.png,x\n7,1, 2,b.png,x", "line 3, column image: user 7, session 1, image 2 is given twice"),
        ('7,1,2,a.png,"x\n7,1,3,b.png,y', "line 2: a quote opens and is not closed"),
    ],
)
def test_a_damaged_row_of_a_csv_is_refused_with_its_line(tmp_path, row, message):
    listed = tmp_path / "pictures.csv"
    listed.write_text(f"user,session,image,file,prompt\n{row}\n")
    with pytest.raises(FergiRewardError, match=message):
        read_pictures(listed)


def test_a_pipe_is_no_picture(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(FergiRewardError, match=r"a.png cannot be read \(it is no ordinary file\)"):
        picture_bytes(Picture(tmp_path / "a.png", "a cat"))
