"""Folders of reactions in either layout through the commands: the same people in FERGI's and in extract's."""

import json
import shutil
from functools import cache

import pandas as pd
import pytest

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.extracted import read_extracted, read_rated
from fergi_reward.data.fergi import read_fergi
from fergi_reward.data.layouts import read_preferences, read_reactions
from tests.command_line import invoke

SCORES = ["image_reward", "pickscore", "hps_v2"]


def run(*arguments):
    result = invoke(list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result.stdout


def mistake(*arguments):
    result = invoke(list(map(str, arguments)))
    assert result.exit_code == 2, result.output
    return result.stderr.strip().splitlines()[-1]


def clips(table):
    """The valid clips of a table, with their kind."""
    kinds = {"reaction": table.images, "baseline": table.baseline}
    return pd.concat(rows.assign(kind=kind) for kind, rows in kinds.items()).dropna(subset=["au4"])


@pytest.fixture(scope="module")
def table(simulated):
    return read_fergi(simulated)


@pytest.fixture(scope="module")
def camera(table, write_extracted, tmp_path_factory):
    """The simulated viewers as another source measured them."""
    rows = clips(table)
    return write_extracted(tmp_path_factory.mktemp("r") / "camera", rows.assign(au4=rows["au4"] / 4), "camera")


@pytest.fixture(scope="module")
def ratings(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("ratings") / "ratings.csv"
    table.images[["user", "session", "image", "rank", *SCORES]].to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def source_map(camera, simulated, tmp_path_factory):
    """Fitted by the command."""
    path = tmp_path_factory.mktemp("map") / "map.json"
    output = run("map-source", "--from", camera, "--to", simulated, "--out", path)
    assert "of 4 people from camera" in output
    assert "| mean absolute error  |" in output
    told = json.loads(run("map-source", "--from", camera, "--to", simulated, "--out", path, "--json"))
    assert (told["map"], told["from"]["people"], told["to"]["source"]) == (str(path), 4, "simulated")
    assert told["knots"] == json.loads(path.read_text())["knots"]
    assert f"{told['held_out'][0]['after']:.4f}" in output
    return path


def accuracies(path):
    fits = json.loads(path.read_text())["fits"]
    return {fit["name"]: fit["accuracy"] for fit in fits}


@pytest.fixture(scope="module")
def calibrations(simulated, camera, ratings, source_map, tmp_path_factory):
    """The calibrations of a protocol on FERGI's layout, on extract's, and on extract's through the map."""
    own = ["--reactions", camera, "--ratings", ratings]
    data = {"fergi": ["--data", simulated], "camera": own, "mapped": [*own, "--source-map", source_map]}

    @cache
    def calibrated(protocol):
        folder = tmp_path_factory.mktemp(protocol)
        for name, options in data.items():
            run("calibrate", *options, "--protocol", protocol, "--out", folder / f"{name}.json")
        return {name: folder / f"{name}.json" for name in data}

    return calibrated


@pytest.mark.parametrize("protocol", ["bradley-terry", "paper-v1"])
def test_both_layouts_are_calibrated_alike(calibrations, protocol):
    paths = calibrations(protocol)
    records = [json.loads(path.read_text()) for path in paths.values()]
    assert [record["au_source"] for record in records] == ["simulated", "camera", "simulated"]
    assert [record["dataset"].get("mapped_from") for record in records] == [None, None, "camera"]
    assert records[2]["dataset"]["pairs"] == records[0]["dataset"]["pairs"]
    # The map undoes a division by 4, except for the five stillest clips of a knot.
    assert accuracies(paths["mapped"]) == pytest.approx(accuracies(paths["fergi"]), abs=0.05, nan_ok=True)


@pytest.mark.usefixtures("no_plots")
def test_evaluate_preferences_reads_what_calibrate_reads(calibrations, camera, ratings, source_map, tmp_path):
    own, fitted = ["--data", camera, "--ratings", ratings], calibrations("bradley-terry")["camera"]
    judge = ["evaluate", "preferences", "--calibration", fitted, "--out", tmp_path / "p"]
    run(*judge, *own)
    record = json.loads((tmp_path / "p" / "report.json").read_text())
    judged = {model["name"]: (model["seen"], model["accuracy"]) for model in record["models"]}
    fits = accuracies(fitted)
    assert judged["camera.json"] == ("left out", fits["weighted_sum"])
    assert judged["camera.json+au4"] == ("left out", fits["weighted_sum+au4"])
    assert record["data"]["title"] == "own viewers"
    run(*judge, *own, "--source-map", source_map)
    record = json.loads((tmp_path / "p" / "report.json").read_text())
    assert "camera.json+au4" not in [model["name"] for model in record["models"]]  # fitted on the other scale
    assert "give --ratings" in mistake(*judge, "--data", camera)
    assert "--ratings is for --dataset fergi" in mistake(*judge, "--dataset", "hpdv2", "--ratings", ratings)


def test_new_people_are_annotated_through_a_map(simulated, table, calibrations, source_map, write_extracted, tmp_path):
    rows = clips(table)
    new = rows.assign(user="new" + rows["user"])
    calibration = calibrations("bradley-terry")["fergi"]
    asked = ["annotate", "--data", simulated, "--signals", "au4", "--rule", "paper", "--calibration", calibration]
    asked += ["--out", tmp_path / "pairs.jsonl"]
    plain = write_extracted(tmp_path / "plain", new, "simulated")
    output = run(*asked, "--reactions", plain)
    assert "the viewers' own ranks are not known" in output
    assert "restless: there are no baseline clips" not in output
    pairs = pd.read_json(tmp_path / "pairs.jsonl", lines=True)
    assert len(pairs) > 5
    other = write_extracted(tmp_path / "other", new.assign(au4=new["au4"] / 4), "camera")
    refused = mistake(*asked, "--reactions", other)
    assert "fitted on AU source 'simulated', got reactions of people to annotate from 'camera'" in refused
    assert "map-source" in refused
    run(*asked, "--reactions", other, "--source-map", source_map)
    mapped = pd.read_json(tmp_path / "pairs.jsonl", lines=True)
    same = mapped.merge(pairs, on=["user", "session", "better", "worse"])
    assert len(same) >= 0.9 * max(len(pairs), len(mapped))


def test_without_baselines_nobody_is_left_out_and_that_is_said(table, camera, ratings, write_extracted, tmp_path):
    rows = clips(table).query("kind == 'reaction'").drop(columns="kind")
    folder = write_extracted(tmp_path / "r", rows, "camera")
    own = ["--data", folder, "--ratings", ratings]
    output = run("annotate", *own, "--expected-accuracy", "0.501", "--out", tmp_path / "pairs.jsonl")
    assert "nobody to annotate is left out as restless: there are no baseline clips of them" in output
    assert "by the viewers' own ranks" in output
    assert "paper-v1 needs baseline clips" in mistake("calibrate", *own, "--protocol", "paper-v1")


def test_both_layouts_are_read_alike(simulated, table, ratings, write_extracted, tmp_path):
    rows = clips(table)
    folder = write_extracted(tmp_path / "r", rows.iloc[1:], "simulated")
    read = read_rated(folder, ratings)
    expected = table.images.set_index(["user", "session", "image"])[["rank", *SCORES, "au4"]]
    expected.iloc[expected["au4"].notna().argmax(), -1] = None
    got = read.images.astype({"session": int, "image": int}).set_index(["user", "session", "image"])
    pd.testing.assert_frame_equal(got[expected.columns], expected)
    assert read.baseline["au4"].tolist() == table.baseline["au4"].tolist()
    assert read_reactions(simulated, "webcam").au_source == "webcam"


def test_a_reaction_without_a_rating_is_noted(camera, ratings, tmp_path):
    (tmp_path / "r.csv").write_text("".join(ratings.read_text().splitlines(keepends=True)[:-5]))
    notes = read_rated(camera, tmp_path / "r.csv").left_out
    assert notes[0].startswith("user 004, session 3, image ")
    assert notes[0].endswith("r.csv")
    assert 1 <= len(notes) <= 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "ratings.csv cannot be read"),
        ("", "ratings.csv, line 1: the file is empty"),
        ("user,session,image,rank\n", "ratings.csv has a header and no row"),
        ("user,rank\n001,1\n", "session, image missing"),
        ("user,session,image\n001,1,1\n", "line 1: it needs the columns user, session, image, rank; rank missing"),
        ("user,session,image,rank,au4\n001,1,1,2,0.1\n", "ratings.csv has the column au4, which .* measured"),
        (
            "user,session,image,rank\nann,1,1,2\n",
            "rates none of the images .* begins with user ann, session 1, image 1",
        ),
        ("user,session,image,rank\n001,1,1,2\n001,1,2,2\n", "ratings.csv: .*session 1: rank 2 is given twice"),
        ("user,session,image,rank\n001,1,1,2,5\n", "ratings.csv, line 2: the row has 5 cells where the header has 4"),
        ("user,session,image,rnak\n001,1,1,2\n", "ratings.csv, line 1: unknown column 'rnak': did you mean 'rank'"),
        ("user,session,image,rank\n,1,1,2\n", "ratings.csv, line 2, column user: is empty"),
        ("user,session,image,rank\n001,1,1,good\n", "ratings.csv, line 2, column rank: 'good' is not a number"),
    ],
)
def test_ratings_that_cannot_be_used(camera, tmp_path, text, message):
    path = tmp_path / "ratings.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(FergiRewardError, match=message):
        read_rated(camera, path)


def test_pseudonyms_that_look_like_missing_values_are_people(table, write_extracted, tmp_path):
    """With a byte order mark, spaces in the header and text ranks, as spreadsheets write them."""
    rows = clips(table).replace({"user": dict(zip(table.users, ["NA", "nan", "null", "1e5"], strict=False))})
    folder = write_extracted(tmp_path / "r", rows, "camera")
    rated = table.images[["user", "session", "image", "rank"]].assign(user=rows["user"][rows["kind"] == "reaction"])
    lines = [f" {', '.join(rated)} \n", *(f"{row[0]}, {row[1]},{row[2]},{row[3]}\n" for row in rated.dropna().values)]
    (tmp_path / "ratings.csv").write_text("\ufeff" + "".join(lines))
    read = read_rated(folder, tmp_path / "ratings.csv")
    assert {"NA", "nan", "null", "1e5"} <= set(read.users)
    assert read.images["rank"].dtype == "int64"


def test_folders_that_cannot_be_used(simulated, camera, ratings, tmp_path):
    folder = shutil.copytree(camera, tmp_path / "r")
    manifest = folder / "manifest.csv"
    lines = manifest.read_text().splitlines()
    for content, message in (
        (lines[:1], "names no reaction"),
        ([line.replace("reaction", "baseline") for line in lines], "names no reaction"),
        ([*lines[:3], lines[3].rsplit(",", 1)[0] + ",-1"], "manifest.csv, row 4: au4 is '-1', must be a number"),
        ([*lines[:3], lines[3].rsplit(",", 1)[0] + ",high"], "row 4: au4 is 'high'"),
        ([*lines[:3], lines[3].replace("camera", "webcam")], "mixes the sources camera and webcam"),
        ([*lines[:3], "001,1"], "line 4: the row has 2 cells"),
        (["video,user,session,image,consent"], "kind, clip, source missing: give a folder that `fergi-reward extract`"),
    ):
        manifest.write_text("\n".join(content) + "\n")
        with pytest.raises(FergiRewardError, match=message):
            read_extracted(folder)
    for reading, message in (
        (lambda: read_reactions(tmp_path), "holds no reactions: give a folder that `extract` wrote"),
        (lambda: read_reactions(camera, "webcam"), "camera, which cannot be read as 'webcam': leave the name out"),
        (lambda: read_preferences(camera), "holds reactions and no ranks: give --ratings"),
        (lambda: read_preferences(camera, ratings, from_frames=True), "--from-frames is for FERGI's layout"),
        (lambda: read_preferences(simulated, ratings), "has FERGI's layout, with ranks of its own"),
    ):
        with pytest.raises(FergiRewardError, match=message):
            reading()


def test_what_mediapipe_measured_is_read_on_either_of_its_scales(table, ratings, write_extracted, tmp_path):
    rows = clips(table).assign(au4=lambda rows: rows["au4"] / 4, au4_landmarks=lambda rows: rows["au4"] / 50)
    old = write_extracted(tmp_path / "old", rows, "mediapipe-blendshapes")
    as_it_is, landmarks = read_extracted(old), read_extracted(old, "mediapipe-landmarks")
    assert (as_it_is.au_source, landmarks.au_source) == ("mediapipe-blendshapes", "mediapipe-landmarks")
    assert landmarks.images["au4"].tolist() == as_it_is.images["au4_landmarks"].tolist()
    assert landmarks.images["au4_blendshapes"].tolist() == as_it_is.images["au4"].tolist()
    assert "au4_landmarks" not in landmarks.images
    assert landmarks.baseline["au4"].tolist() == as_it_is.baseline["au4_landmarks"].tolist()
    new = write_extracted(tmp_path / "new", landmarks_first(rows), "mediapipe-landmarks")
    back = read_rated(new, ratings, "mediapipe-blendshapes")
    pd.testing.assert_frame_equal(back.images, read_rated(old, ratings).images[[*back.images]])


def landmarks_first(rows):
    return rows.rename(columns={"au4": "au4_blendshapes", "au4_landmarks": "au4"})


def test_commands_take_an_old_folder_on_the_new_scale(table, ratings, write_extracted, tmp_path):
    rows = clips(table).assign(au4=lambda rows: rows["au4"] / 4, au4_landmarks=lambda rows: rows["au4"] / 50)
    old = write_extracted(tmp_path / "old", rows, "mediapipe-blendshapes")
    new = write_extracted(tmp_path / "new", landmarks_first(rows), "mediapipe-landmarks")
    options = ["--ratings", ratings]
    for folder, source in ((old, ["--au-source", "mediapipe-landmarks"]), (new, [])):
        out, pairs = (tmp_path / f"{folder.name}.{kind}" for kind in ("json", "jsonl"))
        run("calibrate", "--data", folder, *options, "--scorers", "pickscore", *source, "--out", out)
        run("annotate", "--data", folder, *options, "--reactions", folder, *source, "--signals", "au4", "--out", pairs)
    one, other = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("old", "new"))
    assert one["au_source"] == other["au_source"] == "mediapipe-landmarks"
    assert (one["fits"], one["dataset"]) == (other["fits"], other["dataset"])
    assert (tmp_path / "old.jsonl").read_text() == (tmp_path / "new.jsonl").read_text()
    said = mistake("calibrate", "--data", old, *options, "--au-source", "pyfeat-v2", "--out", tmp_path / "no.json")
    assert said == (
        f"error: {old} holds reactions from mediapipe-blendshapes, which cannot be read as 'pyfeat-v2': leave the name "
        "out, or map them with `fergi-reward map-source`"
    )
