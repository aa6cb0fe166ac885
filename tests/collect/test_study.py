"""A study's folder: what may be started in it, and which pictures it takes."""

import stat
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fergi_reward.collect import settings
from fergi_reward.collect.options import CollectOptions
from fergi_reward.collect.pictures import read_pictures
from fergi_reward.collect.store import Store
from fergi_reward.collect.study import opened
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.privacy.study_database import connected
from tests.collect.conftest import make_pictures


@pytest.fixture
def options(pictures, tmp_path):
    return CollectOptions(pictures=pictures, out=tmp_path / "study")


def opening(options, *more):
    """Why a study cannot be opened."""
    with pytest.raises(FergiRewardError) as found, opened(options):
        pass
    return str(found.value)


def take_part(options):
    with opened(options) as study:
        study.store.run(
            lambda connection: connection.execute("INSERT INTO participants (participant, number) VALUES ('p', 0)")
        ).result()


def test_only_the_owner_can_read_it(options):
    with opened(options):
        for path in [options.out, *options.out.rglob("*")]:
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_second_server_is_refused(options):
    with opened(options):
        assert f"is writing {options.out}: wait for it, or choose another place" in opening(options)


def test_a_folder_of_something_else_is_refused(options):
    options.out.mkdir()
    (options.out / "thesis.tex").touch()
    assert opening(options) == f"{options.out} is not empty and holds no study: choose another --out"


def test_settings_stay_from_the_first_participant_on(options):
    with opened(options):
        pass
    take_part(changed := replace(options, seed=3, ratings=True))
    with opened(replace(changed, retention_days=10, port=1)):
        pass
    assert opening(options) == (
        f"the study in {options.out} began with other settings (ratings was true and is false; seed was 3 and is 0): "
        "give those, or another --out"
    )


@pytest.mark.parametrize(("first", "then"), [(None, 3), (3, None)])
def test_real_and_simulated_participants_are_never_in_one_study(options, first, then):
    take_part(replace(options, simulate=first))
    names = {None: "false", 3: "true"}
    assert opening(replace(options, simulate=then)) == (
        f"the study in {options.out} began with other settings (is_rehearsal was {names[first]} and is {names[then]}): "
        "give those, or another --out"
    )


def test_pictures_stay_from_the_first_participant_on(options):
    with opened(options):
        pass
    Image.new("RGB", (4, 4), "red").save(options.pictures.parent / "0_0.png")
    take_part(options)
    Image.new("RGB", (4, 4), "blue").save(options.pictures.parent / "0_0.png")
    assert opening(options) == (
        f"{options.pictures} has not the pictures with which {options.out} began (1 have another file or prompt, such "
        "as session s0, image i0): restore them, or choose another --out"
    )


def test_pictures_may_move(options, tmp_path):
    take_part(options)
    options.pictures.parent.rename(tmp_path / "elsewhere")
    with opened(replace(options, pictures=tmp_path / "elsewhere" / "pictures.csv")) as study:
        rows = study.store.run(lambda connection: connection.execute("SELECT file FROM pictures").fetchall()).result()
        assert {row["file"] for row in rows} == {f"../elsewhere/{s}_{i}.png" for s in (0, 1) for i in (0, 1)}


def test_a_newer_database_is_refused(options):
    take_part(options)
    connection = connected(options.out / "study.sqlite")
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    path = options.out / "study.sqlite"
    assert opening(options) == f"{path} has schema 7, this version reads 2: use the version that wrote it"


def test_a_damaged_database_is_refused(options):
    take_part(options)
    path = options.out / "study.sqlite"
    content = bytearray(path.read_bytes())
    content[4096 : 4096 + 2000] = b"\xff" * 2000
    path.write_bytes(content)
    assert opening(options).startswith(f"{path} is damaged (")
    path.write_bytes(b"no database at all" * 400)
    assert opening(options) == f"{path} is damaged (file is not a database): restore it from a copy"


def test_damaged_settings_are_refused(options):
    take_part(options)
    path = options.out / settings.NAME
    path.write_text(path.read_text().replace("true", "1", 1))
    assert opening(options) == (
        f"{path}: camera is 1, must be true or false: restore it from a copy, or choose another --out"
    )


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("s0,i0,0_0.png,x", "pictures.csv, line 6, column image: session s0, image i0 is given twice"),
        ("s0,i9,0_0.png,another", "session s0 has 2 prompts, such as '=1+1 <script>alert(0)</script>' and 'another'"),
        ("s9,i0,0_0.png,x", "session s9 has one picture, which cannot be compared: add to it"),
        ("s0,i9,gone.png,=1+1 <script>alert(0)</script>", "gone.png cannot be read (No such file or directory)"),
        ("s0,i9,text.png,=1+1 <script>alert(0)</script>", "no image file of a format that is read here"),
        ("s0,i9,clear.png,=1+1 <script>alert(0)</script>", "is transparent, which browsers and scorers fill"),
        ("s0,i9,turned.jpg,=1+1 <script>alert(0)</script>", "is turned by its EXIF orientation in browsers"),
        ("s0,i9,moving.gif,=1+1 <script>alert(0)</script>", "moves, and scorers see its first frame"),
        ("s0,i9,paper.tif,=1+1 <script>alert(0)</script>", "is TIFF, which not every browser shows"),
    ],
)
def test_pictures_that_cannot_be_shown_are_refused(pictures, line, why):
    folder, red = pictures.parent, Image.new("RGB", (4, 4), "red")
    (folder / "text.png").write_text("no picture")
    Image.new("RGBA", (4, 4), (9, 9, 9, 90)).save(folder / "clear.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    red.save(folder / "turned.jpg", exif=turned)
    red.save(folder / "moving.gif", save_all=True, append_images=[Image.new("RGB", (4, 4), "blue")])
    red.save(folder / "paper.tif")
    pictures.write_text(pictures.read_text() + line + "\n")
    with pytest.raises(FergiRewardError) as found:
        read_pictures(pictures, "rank", {})
    assert why in str(found.value)


def test_every_other_picture_is_taken(tmp_path):
    pictures = make_pictures(tmp_path / "p", sessions=1, images=2)
    Image.fromarray(np.zeros((4, 4, 4), np.uint8) + 255).save(pictures.parent / "0_0.png")  # opaque
    Image.new("L", (4, 4)).save(pictures.parent / "0_1.png")
    assert [each.media_type for each in read_pictures(pictures, "rank", {}).every] == ["image/png"] * 2


def test_a_column_that_is_no_part_of_it_is_refused_by_name(pictures):
    pictures.write_text(
        pictures.read_text().replace("prompt", "prompt,pickscore", 1).replace("</script>", "</script>,1")
    )
    with pytest.raises(FergiRewardError, match="unknown column 'pickscore', known are session, image, file, prompt"):
        read_pictures(pictures, "rank", {})


def test_contradictions_are_named():
    with pytest.raises(FergiRewardError) as found:
        CollectOptions(rank=True, look=True, camera=False, host="0.0.0.0")
    assert str(found.value) == (
        "CollectOptions: --pictures is missing; --rank and --look are different tasks: give one of them; --look "
        "without a camera and without --ratings collects nothing; host is 0.0.0.0, which others can reach: give "
        "--tls-cert and --tls-key; host is 0.0.0.0, every address of this machine: give --address, which participants "
        "use"
    )


def test_a_job_that_fails_undoes_itself_alone(tmp_path):
    store = Store(tmp_path)

    def failing(connection):
        connection.execute("INSERT INTO notices VALUES ('now', 'lost')")
        raise KeyError("a fault")

    store.run(lambda connection: None).result()
    jobs = [
        store.run(lambda connection: connection.execute("INSERT INTO notices VALUES ('now', 'kept')").rowcount),
        store.run(failing),
        store.run(lambda connection: connection.execute("INSERT INTO notices VALUES ('now', 'kept too')").rowcount),
    ]
    assert isinstance(jobs[1].exception(), KeyError) and [jobs[0].result(), jobs[2].result()] == [1, 1]
    store.close()
    rows = connected(tmp_path / "study.sqlite").execute("SELECT text FROM notices").fetchall()
    assert [row[0] for row in rows] == ["kept", "kept too"]
