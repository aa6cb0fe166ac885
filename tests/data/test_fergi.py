import json
import shutil

import numpy as np
import pandas as pd
import pytest

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.fergi import ACTION_UNITS, locate, read_fergi
from fergi_reward.data.simulated import write_simulated_fergi
from fergi_reward.files.csv_numbers import BadRows

IMAGES = "preparation/preprocessed_image_data/002.csv"
REACTIONS = "preparation/preprocessed_reaction_data/002.csv"
FRAMES = "data/002/session_1/reaction_clip_1_features.csv"


@pytest.fixture
def broken(simulated, tmp_path):
    """A copy that a test may break."""
    return shutil.copytree(simulated, tmp_path / "fergi")


def edit(path, row, column, value):
    """Put a text into one cell; row is a line number, the header being 1."""
    table = pd.read_csv(path, dtype=str)
    table.loc[row - 2, column] = str(value)
    table.to_csv(path, index=False)


def test_frames_give_every_published_activation(fergi):
    prepared, computed = read_fergi(fergi), read_fergi(fergi, from_frames=True)
    for left, right, count in (
        (prepared.images.dropna(subset="au4"), computed.images.dropna(subset="au4"), 2217),
        (prepared.baseline, computed.baseline, 2044),
    ):
        keys = ["user", "session", "image"]
        both = left.merge(right, on=keys, suffixes=("", "_computed"))
        assert len(left) == len(right) == len(both) == count
        for name in ACTION_UNITS:
            np.testing.assert_allclose(both[f"{name}_computed"], both[name], atol=1e-6)


def test_fergi_is_read_whole(fergi):
    table = read_fergi(fergi)
    assert len(table.images) == 2827
    assert len(table.users) == 33
    assert table.images.groupby(["user", "session"]).ngroups == 576
    assert table.au_source == "fergi-ir50"


def test_both_layers_of_a_simulated_folder_agree(simulated):
    prepared, computed = read_fergi(simulated), read_fergi(simulated, from_frames=True)
    pd.testing.assert_frame_equal(prepared.images, computed.images, check_dtype=False)
    assert prepared.au_source == "simulated"
    assert 0 < prepared.images["au4"].isna().sum() < len(prepared.images) / 4  # viewers who looked away


def test_one_seed_writes_the_same_files(simulated, tmp_path):
    write_simulated_fergi(tmp_path, participants=4, sessions=3, seed=1)
    files = sorted(path.relative_to(simulated) for path in simulated.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert all((simulated / file).read_bytes() == (tmp_path / file).read_bytes() for file in files)


def edit_line(path, row, change):
    lines = path.read_text().splitlines()
    lines[row - 1] = change(lines[row - 1])
    path.write_text("\n".join(lines) + "\n")


def insert(path, row, text):
    edit_line(path, row, lambda line: line + text)


def drop_session(path, session):
    table = pd.read_csv(path)
    table[table["session_index"] != session].to_csv(path, index=False)


def truncate_row(folder):
    path = folder / IMAGES
    lines = path.read_text().splitlines()
    lines[3] = lines[3][: len(lines[3]) // 2]
    path.write_text("\n".join(lines) + "\n")


def no_pair(folder):
    path = folder / IMAGES
    table = pd.read_csv(path)
    table.groupby("session_index").head(1).to_csv(path, index=False)


def drop_column(folder):
    path = folder / IMAGES
    pd.read_csv(path).drop(columns="PickScore").to_csv(path, index=False)


def repeat_reaction(folder):
    path = folder / REACTIONS
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[1]]) + "\n")


FAULTS = {
    "missing file": (lambda folder: (folder / IMAGES).unlink(), f"{IMAGES}: cannot be read"),
    "empty file": (
        lambda folder: (folder / IMAGES).write_text(""),
        f"{IMAGES}, column .*: the column is missing: an empty file",
    ),
    "header only": (
        lambda folder: (folder / IMAGES).write_text((folder / IMAGES).read_text().splitlines()[0]),
        f"{IMAGES}: the file has a header and no rows",
    ),
    "cell too many": (
        lambda folder: insert(folder / REACTIONS, 2, ",7"),
        f"{REACTIONS}, row 2: the row has 15 values where the header has 14",
    ),
    "column twice": (
        lambda folder: insert(folder / IMAGES, 1, ",PickScore"),
        f"{IMAGES}, column PickScore: the column is given twice",
    ),
    "unclosed quote": (
        lambda folder: edit_line(folder / IMAGES, 4, lambda line: line.replace(",", ',"', 1)),
        f"{IMAGES}, row 4: the row has 2 values where the header has",
    ),
    "beyond reason": (
        lambda folder: edit(folder / IMAGES, 6, "rank_score", 1e300),
        f"{IMAGES}, row 6, column rank_score: '1e\\+300' is beyond 1e\\+12",
    ),
    "negative activation": (
        lambda folder: edit(folder / REACTIONS, 3, "AU4_activation_value", -0.5),
        f"{REACTIONS}, row 3, column AU4_activation_value: '-0.5' is below 0",
    ),
    "lost session": (
        lambda folder: drop_session(folder / IMAGES, 3),
        f"{IMAGES}: the valid session 3 has no row",
    ),
    "truncated row": (truncate_row, f"{IMAGES}, row 4: the row has .* values where the header has"),
    "missing column": (drop_column, f"{IMAGES}, column PickScore: the column is missing"),
    "text": (
        lambda folder: edit(folder / IMAGES, 5, "ImageReward_score", "good"),
        f"{IMAGES}, row 5, column ImageReward_score: 'good' is not a number",
    ),
    "nan": (
        lambda folder: edit(folder / REACTIONS, 3, "AU4_activation_value", "nan"),
        f"{REACTIONS}, row 3, column AU4_activation_value: 'nan' is not a finite number",
    ),
    "infinity": (
        lambda folder: edit(folder / IMAGES, 6, "HPS_V2_score", "inf"),
        f"{IMAGES}, row 6, column HPS_V2_score: 'inf' is not a finite number",
    ),
    "half a rank": (
        lambda folder: edit(folder / IMAGES, 4, "rank_score", 2.5),
        f"{IMAGES}, row 4, column rank_score: '2.5' is not a whole number",
    ),
    "rank twice": (
        lambda folder: edit(folder / IMAGES, 3, "rank_score", pd.read_csv(folder / IMAGES).rank_score[0]),
        f"{IMAGES}, row 3, column rank_score: rank . is given twice in session 1",
    ),
    "image twice": (
        lambda folder: edit(folder / IMAGES, 3, "image_index", 1),
        f"{IMAGES}, row 3, column image_index: image 1 is given twice in session 1",
    ),
    "reaction twice": (repeat_reaction, f"{REACTIONS}, row .*, column image_index: image . is given twice"),
    "no pair": (no_pair, f"{IMAGES}: the participant has no session with two ranked images"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_names_file_row_and_column(broken, fault):
    damage, message = FAULTS[fault]
    damage(broken)
    with pytest.raises(FergiRewardError, match=message):
        read_fergi(broken)


@pytest.mark.parametrize("fault", FAULTS)
def test_skipping_continues_without_the_bad_rows_and_lists_them(broken, simulated, fault):
    damage, _ = FAULTS[fault]
    damage(broken)
    bad = BadRows(skip=True)
    table, whole = read_fergi(broken, bad=bad), read_fergi(simulated)
    assert table.left_out
    assert "002.csv" in table.left_out[0]
    assert set(whole.users) - set(table.users) <= {"002"}
    others = whole.images["user"] != "002"
    pd.testing.assert_frame_equal(
        table.images[table.images["user"] != "002"].reset_index(drop=True),
        whole.images[others].reset_index(drop=True),
        check_dtype=False,
    )


def test_a_damaged_frame_spoils_its_clip_alone(broken, simulated):
    edit(broken / FRAMES, 7, "AU4", "x")
    with pytest.raises(FergiRewardError, match=f"{FRAMES}, row 7, column AU4: 'x' is not a number"):
        read_fergi(broken, from_frames=True)
    table = read_fergi(broken, from_frames=True, bad=BadRows(skip=True))
    lost = read_fergi(simulated).images["au4"].notna() & table.images["au4"].isna()
    assert table.images.loc[lost, ["user", "session", "image"]].values.tolist() == [["002", 1, 1]]


def test_time_increases(broken):
    edit(broken / FRAMES, 7, "timestamp", 0.0)
    with pytest.raises(FergiRewardError, match=f"{FRAMES}, row 7, column timestamp: the time is not after"):
        read_fergi(broken, from_frames=True)


def test_both_rows_of_a_repeated_rank_are_left_out_and_listed(broken, simulated):
    damage, _ = FAULTS["rank twice"]
    damage(broken)
    table = read_fergi(broken, bad=BadRows(skip=True))
    assert [text.split(",")[1] for text in table.left_out] == [" row 3", " row 2"]
    assert len(read_fergi(simulated).images) - len(table.images) == 2


def test_only_listed_sessions_and_images_count(broken, simulated):
    sessions = json.loads((broken / "preparation/valid_sessions.json").read_text())
    (broken / "preparation/valid_sessions.json").write_text(json.dumps(sessions | {"002": [1, 2]}))
    (broken / "preparation/invalid_images.json").write_text(json.dumps({"003": {"1": [4]}}))
    left = read_fergi(broken).images
    gone = read_fergi(simulated).images.merge(left, how="left", indicator=True, on=["user", "session", "image"])
    gone = gone[gone["_merge"] == "left_only"]
    assert set(zip(gone["user"], gone["session"], strict=True)) == {("002", 3), ("003", 1)}
    assert len(gone) == 6


def test_own_data_say_what_measured_them(simulated):
    assert read_fergi(str(simulated), au_source="pyfeat-v2").au_source == "pyfeat-v2"


def test_a_viewer_who_never_shows_a_face_is_no_error(broken):
    path = broken / REACTIONS
    path.write_text(path.read_text().splitlines()[0] + "\n")
    images = read_fergi(broken).images
    assert images.loc[images["user"] == "002", "au4"].isna().all()


def test_a_real_folder_is_never_simulated_over(broken):
    (broken / "simulated.json").unlink()
    with pytest.raises(FergiRewardError, match="holds something else than a simulated FERGI"):
        write_simulated_fergi(broken, participants=3, sessions=2)


def test_a_missing_clip_is_named(broken):
    (broken / FRAMES).unlink()
    with pytest.raises(FergiRewardError, match=f"{FRAMES}: cannot be read"):
        read_fergi(broken, from_frames=True)


@pytest.mark.parametrize("name", ["valid_sessions", "invalid_images"])
@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"001": "x"}', '{"001": [1.5]}', "[" * 100_000])
def test_a_damaged_list_is_named(broken, name, content):
    path = broken / "preparation" / f"{name}.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(FergiRewardError, match=rf"preparation/{name}\.json"):
        read_fergi(broken)


def test_where_fergi_lies(simulated, tmp_path, monkeypatch):
    monkeypatch.setenv("FERGI_DATA", str(simulated))
    assert locate() == simulated
    with pytest.raises(FergiRewardError, match="is not a folder"):
        locate(tmp_path / "nowhere")
    with pytest.raises(FergiRewardError, match="no folder 'preparation'"):
        locate(tmp_path)
    monkeypatch.delenv("FERGI_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(FergiRewardError, match="fergi-reward data fetch"):
        locate()


def test_a_faceless_clip_is_no_error_and_is_counted(broken):
    frames = pd.read_csv(broken / FRAMES)
    frames["face_detection_confidence_score"] = 0.0
    frames.to_csv(broken / FRAMES, index=False)
    images = read_fergi(broken, from_frames=True).images
    row = images[(images["user"] == "002") & (images["session"] == 1) & (images["image"] == 1)]
    assert row["au4"].isna().all()


def test_simulated_folders_say_so(simulated):
    assert "no person was recorded" in json.loads((simulated / "simulated.json").read_text())["what"]
