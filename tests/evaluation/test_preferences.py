"""`fergi-reward evaluate preferences`: FERGI as it is, and pictures of the emoji world through its own scorers."""

import json
import shutil
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from fergi_reward.bulk.batch_scores import BatchScores
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.calibration.protocols import calibrate
from fergi_reward.data.fergi import read_fergi
from fergi_reward.evaluation.fergi_margins import fergi_margins
from fergi_reward.faces.recorded import Recorded
from fergi_reward.files.locks import owned
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.registry import load_scorer
from fergi_reward.toy.emoji import CALIBRATION, checkpoints
from tests.command_line import invoke

TOY = [f"--checkpoint={name}={folder}" for name, folder in checkpoints().items()]
ONE = ["--scorers", "pickscore", f"--checkpoint=pickscore={checkpoints()['pickscore']}"]
without_plots = pytest.mark.usefixtures("no_plots")


def evaluate(*arguments):
    return invoke(["evaluate", "preferences", *map(str, arguments)])


def results(*arguments, out):
    run = evaluate(*arguments, "--out", out)
    assert run.exit_code == 0, run.output
    record = json.loads((out / "report.json").read_text())
    return record, {model["name"]: model for model in record["models"]}


def excluded(record):
    return {(each["what"], each["reason"]): each["count"] for each in record["exclusions"]}


@pytest.fixture(scope="module")
def everyone(simulated, tmp_path_factory):
    """A calibration on all simulated participants."""
    path = tmp_path_factory.mktemp("everyone") / "all.json"
    calibrate(read_fergi(simulated)).calibration.save(path)
    return path


@without_plots
def test_fergi_gives_the_published_figures_and_what_calibrate_gives(fergi, tmp_path):
    record, models = results("--data", fergi, out=tmp_path / "out")
    faces = {f"shipped{face}": f"weighted_sum{face}" for face in ("", "+au4", "+au4+au12", "+12_aus")}
    assert list(models) == ["image_reward", "pickscore", "hps_v2", *faces]
    data = record["data"]
    assert (data["unit"], data["units"], data["pairs"], data["images"]) == ("participant", 33, 3734, 2185)
    assert [models[name]["correct"] for name in models] == [2258, 2363, 2315, 2430, 2484, 2540, 2548]  # README
    for name in ("image_reward", "pickscore", "hps_v2"):
        assert round(models[name]["as_published"], 4) == models[name]["published"]
    shipped = Calibration.shipped()
    for name, fit in faces.items():
        fitted = next(each for each in shipped.fits if each.name == fit)
        assert models[name]["seen"] == "left out"
        assert models[name]["accuracy"] == fitted.accuracy
        assert tuple(models[name]["ci95"]) == fitted.ci95
        assert models[name]["reliability"]["log_loss"] == pytest.approx(fitted.log_loss)
    face = next(
        each for each in record["comparisons"] if each["second"] == "shipped+au4" and each["first"] == "shipped"
    )
    assert face["only_second"] - face["only_first"] == 2484 - 2430
    assert face["p_value"] < 0.01 and face["ci95"][1] < 0
    assert excluded(record) == {("images", "no valid reaction clip"): 610}


@without_plots
def test_a_calibration_that_saw_the_participants_is_marked(simulated, everyone, tmp_path):
    table = read_fergi(simulated)
    calibrate(table.without_users(table.users[:1])).calibration.save(tmp_path / "some.json")
    options = ["--data", simulated, "--calibration", everyone, "--calibration", tmp_path / "some.json"]
    record, models = results(*options, "--calibration", "shipped", out=tmp_path / "out")
    assert "SIMULATED" in record["data"]["title"] and record["published"] == []
    seen = {name: model["seen"] for name, model in models.items()}
    assert seen["all.json"] == seen["all.json+au4"] == "left out"
    assert seen["some.json"] == seen["some.json+au4"] == "in sample"
    # The shipped calibration is of other faces: no reaction is joined, and nobody was seen.
    assert seen["shipped"] == "nothing" and "shipped+au4" not in seen
    assert any("3 of these 4 participants" in note and "IN SAMPLE" in note for note in record["notes"])
    assert "THESE PAIRS" in (tmp_path / "out" / "report.md").read_text()
    assert record["calibrations"]["some.json"] == Calibration.load(tmp_path / "some.json").fingerprint()
    assert record["provenance"]["fingerprints"]["calibration some.json"] == record["calibrations"]["some.json"]
    assert str(tmp_path) not in (tmp_path / "out" / "report.json").read_text()  # calibrations are named without folders
    # In sample means the reward as it is: the totals that CombinedReward gives to the recorded scores.
    used = table.with_reactions()
    scores = {name: torch.tensor(used.images[name].tolist()) for name in ("image_reward", "pickscore", "hps_v2")}
    reward = CombinedReward(list(scores), Calibration.load(tmp_path / "some.json"))
    total, pairs = reward.combine(scores, [""] * len(used.images)).total.numpy(), used.pairs()
    assert models["some.json"]["correct"] == (total[pairs.better] > total[pairs.worse]).sum()


@without_plots
def test_a_calibration_on_several_action_units_is_judged_by_all_of_them(simulated, tmp_path):
    table, aus = read_fergi(simulated), ["au4", "au12"]
    fitted, some = (calibrate(each, aus=aus).calibration for each in (table, table.without_users(table.users[:1])))
    fitted.save(tmp_path / "all.json")
    some.save(tmp_path / "some.json")
    options = ["--data", simulated, "--calibration", tmp_path / "all.json", "--calibration", tmp_path / "some.json"]
    _, models = results(*options, out=tmp_path / "out")
    for face in ("", "+au4", "+au4+au12"):
        fit = next(each for each in fitted.fits if each.name == f"weighted_sum{face}")
        assert models[f"all.json{face}"]["accuracy"] == fit.accuracy
    used = table.with_reactions()
    scores = {name: torch.tensor(used.images[name].tolist()) for name in ("image_reward", "pickscore", "hps_v2")}
    ids, pairs = list(map(str, used.images.index)), used.pairs()
    face = Recorded(used.images[aus].set_axis(ids).to_dict("index"), used.au_source)
    reward = CombinedReward(list(scores), some, face=face)
    total = reward.combine(scores, ids, ids).total.numpy()
    assert models["some.json+au4+au12"]["seen"] == "in sample"
    blind = replace(table, images=used.images.drop(columns="au12"))
    margins = fergi_margins(blind, "here", list(scores), {"all": fitted})
    assert [each.held_out.model for each in margins.models][-2:] == ["all", "all+au4"]
    assert "also weighs au12, which some of these images lack" in margins.notes[0]
    assert models["some.json+au4+au12"]["correct"] == (total[pairs.better] > total[pairs.worse]).sum()


def test_of_a_calibration_that_names_no_viewers_it_is_not_known_whether_it_saw_them(simulated, everyone):
    table, mine = read_fergi(simulated).with_reactions(), Calibration.load(everyone)
    nameless = replace(mine, dataset={name: value for name, value in mine.dataset.items() if name != "users"})
    found = fergi_margins(table, "here", list(mine.scorers), {"mine": nameless})
    assert found.models[-1].seen == "unknown" and any(
        "does not say whom it was fitted on" in each for each in found.notes
    )


@without_plots
def test_pick_a_pic_from_pictures_to_the_table(pickapic_folder, tmp_path):
    options = ["--dataset", "pickapic", "--data", pickapic_folder, *TOY, "--calibration", CALIBRATION]
    record, models = results(*options, out=tmp_path / "out")
    assert list(models) == ["image_reward", "pickscore", "hps_v2", CALIBRATION.name]
    # 22 choices less a tie, one without a label and one with a broken picture.
    assert record["data"]["pairs"] == 19 and record["data"]["split"] == "test_unique"
    assert excluded(record) == {
        ("rankings", "not a rank for each image"): 1,
        ("pictures", "missing or unreadable, see scores.parquet.errors.csv"): 1,
        ("pairs", "with such a picture"): 1,
        ("pairs", "ranked equal"): 1,
    }
    assert pd.read_csv(tmp_path / "out" / "scores.parquet.errors.csv")["image"].tolist() == ["7-1"]
    assert record["provenance"]["versions"]["scorer pickscore"].startswith("pickscore (SHA-256 ")  # no folders above
    # The people here prefer the best of five pictures to the worst: scorers of this world see that.
    assert models[CALIBRATION.name]["accuracy"] > 0.8
    assert models["pickscore"]["published"] == 0.702 and models["image_reward"]["published"] is None
    rows = pd.read_parquet(next((pickapic_folder / "data").glob("test_unique-*")))
    first = next(each for each in rows.itertuples() if each.image_0_uid == "0-0")
    table = pd.read_parquet(tmp_path / "out" / "scores.parquet").set_index("image")
    scorer = load_scorer("pickscore", checkpoints()["pickscore"])
    expected = scorer.score([first.jpg_0, first.jpg_1], first.caption).tolist()
    assert table.loc[["0-0", "0-1"], "pickscore"].tolist() == pytest.approx(expected, abs=1e-4)
    # Counted again from the table of scores alone.
    better = np.array([table["pickscore"].get(f"{number}-{1 - number % 2}", np.nan) for number in range(22)])
    worse = np.array([table["pickscore"].get(f"{number}-{number % 2}", np.nan) for number in range(22)])
    counted = np.isfinite(better - worse) & ~np.isin(np.arange(22), [3, 5])
    assert models["pickscore"]["correct"] == (better > worse)[counted].sum()


@without_plots
@pytest.mark.parametrize(("name", "pairs", "lost", "tied"), [("hpdv2", 35, 4, 1), ("imagerewarddb", 35, 4, 1)])
def test_rankings(request, name, pairs, lost, tied, tmp_path):
    folder = request.getfixturevalue(f"{name}_folder")
    options = ["--dataset", name, "--data", folder, *ONE]
    record, models = results(*options, out=tmp_path / "out")
    assert record["data"]["pairs"] == pairs
    found = excluded(record)
    assert found[("pairs", "with such a picture")] == lost and found[("pairs", "ranked equal")] == tied
    assert found[("pictures", "missing or unreadable, see scores.parquet.errors.csv")] == 1
    assert models["shipped"]["seen"] == "nothing" and models["shipped"]["reliability"]["log_loss"] > 0
    assert any("there are no intervals" in note for note in record["notes"])


@without_plots
def test_a_picture_that_is_put_back_counts_and_the_others_scores_are_used_again(
    hpdv2_folder, exhibits, tmp_path, monkeypatch
):
    scored, plain = [], BatchScores.__call__
    monkeypatch.setattr(BatchScores, "__call__", lambda *given: scored.append(given) or plain(*given))
    options = ["--dataset", "hpdv2", "--data", hpdv2_folder, *ONE, "--batch-size", 4]
    assert results(*options, out=tmp_path / "out")[0]["data"]["pairs"] == 35
    (hpdv2_folder / "test" / "00001_2.jpg").write_bytes(exhibits[1].pictures[2])
    scored.clear()
    record, _ = results(*options, out=tmp_path / "out")
    assert len(scored) == 1
    assert record["data"]["pairs"] == 39 and ("pairs", "with such a picture") not in excluded(record)
    assert not (tmp_path / "out" / "scores.parquet.errors.csv").exists()
    whole, _ = results(*options, out=tmp_path / "whole")
    assert whole | {"provenance": {}, "command": ""} == record | {"provenance": {}, "command": ""}
    table = "scores.parquet"
    assert (tmp_path / "out" / table).read_bytes() == (tmp_path / "whole" / table).read_bytes()


def test_killed_and_resumed_by_two_processes_gives_what_one_gives(pickapic_folder, forked, tmp_path):
    options = ["evaluate", "preferences", "--dataset", "pickapic", "--data", str(pickapic_folder), *ONE]
    options += ["--batch-size", "4", "--out", str(tmp_path / "two")]
    journal = tmp_path / "two" / ".scores.parquet.journal"
    begun = forked(["-m", "fergi_reward", *options])
    begun.kill_once(lambda: any(path.stat().st_size for path in journal.glob("*.lines")))
    assert not (tmp_path / "two" / "scores.parquet").exists()
    run = forked(["-m", "fergi_reward", *options], 2)
    files = set()
    while run.poll() is None:
        files |= {path.name for path in journal.glob("*.lines")}
        time.sleep(0.01)
    assert run.wait() == 0 and run.stdout.count("# Preferences on Pick-a-Pic v2") == 1, run.stderr
    assert len(files) > 2  # of the run that was killed, and of each process
    options[-1] = str(tmp_path / "one")
    assert invoke(options).exit_code == 0
    one, two = (json.loads((tmp_path / name / "report.json").read_text()) for name in ("one", "two"))
    known = {"command": "", "provenance": {}}
    assert one | known == two | known
    assert (tmp_path / "one/scores.parquet").read_bytes() == (tmp_path / "two/scores.parquet").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset", "fergi", "--checkpoint", "clip=x"], "FERGI's scores are recorded"),
        (["--dataset", "hpdv2", "--skip-bad"], "--skip-bad is for --dataset fergi"),
        (["--calibration", "/a/c.json", "--calibration", "/b/c.json"], "2 times --calibration c.json: a report could"),
        (["--scorers", "pickscor"], "there is no scorer 'pickscor'"),
        (["--data", "nowhere"], "nowhere is not a folder"),
        (["--dataset", "hpdv2", "--data", "nowhere"], "nowhere is neither a folder nor a hub id"),
        (["--calibration", "nowhere.json"], "there is no calibration file nowhere.json"),
    ],
)
def test_mistakes_are_one_sentence(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = evaluate(*options)
    assert result.exit_code == 2, result.output
    assert message in result.stderr and "Traceback" not in result.output


def test_a_second_run_on_one_folder_is_refused(hpdv2_folder, tmp_path):
    with owned(tmp_path / "out"):
        run = evaluate("--dataset", "hpdv2", "--data", hpdv2_folder, *TOY, "--out", tmp_path / "out")
    assert run.exit_code == 2 and "another run" in run.stderr and list(tmp_path.glob("out/*")) == []


def test_one_prompt_and_a_checkpoint_that_is_none(hpdv2_folder, tmp_path):
    entries = json.loads((hpdv2_folder / "test.json").read_text())
    (hpdv2_folder / "test.json").write_text(json.dumps(entries[4:5]))
    options = ["--dataset", "hpdv2", "--data", hpdv2_folder]
    record, models = results(*options, *ONE, out=tmp_path / "out")
    assert models["pickscore"]["ci95"] is None
    assert "Of 1 prompt there are no intervals: at least 5 are needed." in record["notes"]
    assert (tmp_path / "out" / "report.html").is_file()
    (tmp_path / "empty").mkdir()
    result = evaluate(*options, *ONE[:2], f"--checkpoint=pickscore={tmp_path / 'empty'}", "--out", tmp_path / "other")
    assert result.exit_code == 2 and "empty has no config.json" in result.stderr


def test_nothing_left(hpdv2_folder, tmp_path):
    shutil.rmtree(hpdv2_folder / "test")
    (hpdv2_folder / "test").mkdir()
    result = evaluate("--dataset", "hpdv2", "--data", hpdv2_folder, *ONE, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert (
        "has no pair that counts (1 rankings: fewer than two images; 1 rankings: no prompt; 20 pictures"
        in result.stderr
    )


@without_plots
def test_scores_of_other_options_are_not_used(hpdv2_folder, tmp_path):
    options = ["--dataset", "hpdv2", "--data", hpdv2_folder]
    two = ["--scorers", "image_reward,pickscore", *TOY[:2]]
    results(*options, *ONE, out=tmp_path / "out")
    results(*options, *two, out=tmp_path / "out")
    results(*options, *two, out=tmp_path / "whole")
    tables = [(tmp_path / name / "scores.parquet").read_bytes() for name in ("out", "whole")]
    assert tables[0] == tables[1]


@without_plots
def test_a_folder_without_valid_baseline_clips_is_judged_as_calibrate_takes_it(simulated, tmp_path):
    folder = shutil.copytree(simulated, tmp_path / "restless")
    for file in (folder / "preparation" / "preprocessed_baseline_data").iterdir():
        file.write_text(file.read_text().splitlines()[0] + "\n")
    assert not read_fergi(folder).has_baseline
    record, models = results("--data", folder, out=tmp_path / "out")
    assert record["data"]["pairs"] == len(read_fergi(simulated).with_reactions().pairs())
    assert "pickscore" in models


@without_plots
def test_without_any_face_the_scores_are_judged(simulated, everyone, tmp_path):
    folder = tmp_path / "faceless"
    shutil.copytree(simulated, folder)
    for file in (folder / "preparation" / "preprocessed_reaction_data").iterdir():
        file.write_text(file.read_text().splitlines()[0] + "\n")
    record, models = results("--data", folder, "--calibration", everyone, out=tmp_path / "out")
    assert record["data"]["pairs"] > len(read_fergi(simulated).with_reactions().pairs())
    assert [model["seen"] for model in models.values()] == ["nothing"] * 3 + ["in sample"]
    assert record["exclusions"] == []
