"""`fergi-reward calibrate --judgements`: from a table and its scores, columns or computed, to weights that load."""

import io
import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fergi_reward.calibration.calibration import Calibration
from fergi_reward.core.options import OptionsError
from fergi_reward.evaluation.options import CalibrateOptions
from fergi_reward.reward import CombinedReward
from tests.command_line import invoke


def judged(prompts=40, images=3, seed=0, **more):
    """Ratings that follow twice the one score and not the other, with noise."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(prompts * images, 2)), columns=["useful", "useless"])
    table["prompt"] = np.repeat([f"prompt {number}" for number in range(prompts)], images)
    table["image"] = [f"{number}.png" for number in range(len(table))]
    return table.assign(rating=2 * table["useful"] + rng.gumbel(size=len(table)), **more)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    judged().to_csv("judged.csv", index=False)
    return tmp_path


def calibrate(*words):
    return invoke(["calibrate", "--judgements", *words])


def test_a_table_gives_weights_that_load_and_a_report_that_says_what_was_taken(folder):
    result = calibrate("judged.csv", "--scorers", "useful,useless", "--report", "report")
    assert result.exit_code == 0, result.output
    assert "read as ratings (higher is better): rating = rating, prompt = prompt, image = image" in result.stdout
    useful, useless = Calibration.load("calibration.json").fit_for(["useful", "useless"]).terms
    assert useful.weight > 1.2 > 0.5 > abs(useless.weight)
    assert "rating = rating" in (folder / "report" / "report.md").read_text()


@pytest.mark.parametrize("scorers", [[], ["--scorers", "hps_v2.0"], ["--scorers", "hps_v2"]])
@pytest.mark.parametrize("name", ["hps_v2.0", "hps_v2"])
def test_a_column_that_score_wrote_is_the_term_that_a_reward_asks_for(folder, name, scorers):
    """`score --scorers hps_v2.0` calls its column so, and the scorer's term is hps_v2."""
    scores = judged()[["image", "useful"]].rename(columns={"useful": name})
    scores.to_csv("scores.csv", index=False)
    judged().drop(columns=["useful", "useless"]).to_csv("judged.csv", index=False)
    found = calibrate("judged.csv", "--scores", "scores.csv", *scorers)
    assert found.exit_code == 0, found.output
    assert CombinedReward.from_pretrained("calibration.json").names == ["hps_v2"]


def test_the_weights_are_those_of_the_fit_in_python(folder):
    from fergi_reward import fit_weights

    assert calibrate("judged.csv", "--scorers", "useful,useless", "--quiet").exit_code == 0
    table = judged()
    judgements = table[["prompt", "rating"]].assign(image=range(len(table)))
    expected = fit_weights(table[["useful", "useless"]], judgements)
    for name in ("useful", "useful+useless"):
        found, same = (
            {fit.name: [term.weight for term in fit.terms] for fit in each.fits}[name]
            for each in (Calibration.load("calibration.json"), expected)
        )
        assert found == pytest.approx(same, rel=1e-6)


def test_a_rater_who_rates_the_other_way_round_is_counted_in_the_report_and_left_out_by_the_line_that_is_said(folder):
    table = judged(10, seed=1)
    signs = {**dict.fromkeys("abcde", 1), "it's": -1}
    rows = [table.assign(who=name, rating=sign * table["rating"]) for name, sign in signs.items()]
    pd.concat(rows).to_csv("judged.csv", index=False)
    found = calibrate("judged.csv", "--scorers", "useful", "--rater", "who", "--report", "report")
    assert found.exit_code == 0 and "rater it's agrees with most" in found.stderr
    text = (folder / "report" / "report.md").read_text()
    assert "1 of 6 raters agrees with the others in fewer pairs than chance explains; the command names" in text
    assert "it's" not in text
    program = re.search(r"python -c .* (?=writes judged_without.csv without them)", found.stderr)[0]
    subprocess.run(program.replace("python", sys.executable, 1), shell=True, check=True, cwd=folder)
    again = calibrate("judged_without.csv", "--scorers", "useful", "--rater", "who")
    assert "of 5 raters" in again.stdout and "rater it's" not in again.stderr
    assert pd.read_csv("judged_without.csv").equals(pd.concat(rows[:5], ignore_index=True))


def test_few_raters_of_many_prompts_are_enough_to_suspect_the_direction(folder):
    table = judged(30)
    pd.concat([table.assign(who=name) for name in "abc"]).to_csv("judged.csv", index=False)
    found = calibrate("judged.csv", "--scorers", "useful", "--rater", "who", "--rank", "rating")
    assert "read the wrong way round" in found.stdout
    assert (
        "useful alone has a weight below 0, and its row counts with the sign turned: people prefer the" in found.stdout
    )
    assert "--rating names a column in which a high value is, --rank one in which 1 is." in found.stdout


@pytest.mark.parametrize("reads_as", ["rating", "rank"])
def test_judgements_that_are_read_the_wrong_way_round_are_suspected(folder, reads_as):
    result = calibrate("judged.csv", "--scorers", "useful", f"--{reads_as}", "rating")
    assert ("read the wrong way round" in result.stdout) == (reads_as == "rank"), result.output


@pytest.mark.parametrize(("value", "is_named"), [(-999, True), (6, False)])
def test_a_score_that_is_far_from_all_others_is_named(folder, value, is_named):
    table = judged()
    table.loc[7, "useful"] = value
    table.to_csv("outlier.csv", index=False)
    result = calibrate("outlier.csv", "--scorers", "useful,useless")
    assert ("useful is -999 for image 7.png, where half of all images have" in result.stdout) == is_named


@pytest.mark.parametrize(("value", "is_named"), [(555, True), (6, False)])
def test_a_rating_that_is_far_from_all_others_is_named(folder, value, is_named):
    table = judged()
    table.loc[[7, 9], "rating"] = value, value - 1
    table.to_csv("slip.csv", index=False)
    calibrated = calibrate("slip.csv", "--scorers", "useful")
    evaluated = invoke(["evaluate", "preferences", "--judgements", "slip.csv", "--scorers", "useful"])
    for result in (calibrated, evaluated):
        assert ("rating is 555 for image 7.png (2 rows so far off), where half of all" in result.stdout) == is_named


def test_json_has_the_numbers(folder):
    values = json.loads(calibrate("judged.csv", "--scorers", "useful", "--json", "--ties", "davidson").stdout)
    assert values["calibration"] == "calibration.json"
    assert values["dataset"]["pairs"] == 120
    assert values["weights"]["useful"]["weight"] > 1.2
    assert values["columns"] == {"rating": "rating", "prompt": "prompt", "image": "image"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "could be any of the columns useful, useless: name those to weigh by --scorers"),
        (("--scorers", "usefull"), "there is no scorer 'usefull'.*columns with scores are useful, useless"),
        (("--scorers", "rating"), r"--scorers names rating \(rating\), which says what was judged"),
        (("--scorers", "useful", "--rank", "useful"), "which says what was judged"),
        (
            ("--scorers", "useful", "--data", "x", "--protocol", "paper-v1"),
            "paper-v1 is for viewers.*--data x is a bench",
        ),
        (("--scorers", "useful", "--from-frames"), "--from-frames is for viewers with faces"),
        (("--scorers", "useful,useful"), "--scorers names useful twice"),
        (("--scorers", "useful", "--aus", "au4"), "--aus and --au-source.* are given together"),
    ],
)
def test_mistakes_are_one_sentence(folder, words, message):
    result = calibrate("judged.csv", *words)
    assert result.exit_code == 2
    assert re.search(message, " ".join(result.stderr.split())), result.stderr
    assert not (folder / "calibration.json").exists()


def test_pictures_of_one_prompt_need_groups_and_the_error_names_the_option(folder):
    judged(prompts=1, images=30, day=["mon", "tue", "wed"] * 10).to_csv("one.csv", index=False)
    result = calibrate("one.csv", "--scorers", "useful")
    assert result.exit_code == 2 and "of 1 prompt" in result.stderr and "(--group) with 3 values" in result.stderr
    result = calibrate("one.csv", "--scorers", "useful", "--group", "day")
    assert result.exit_code == 0, result.output


def test_a_table_of_a_spreadsheet_with_decimal_commas_is_refused_in_words(folder):
    judged().to_csv("german.csv", index=False, sep=";", decimal=",")
    result = calibrate("german.csv", "--scorers", "useful")
    assert result.exit_code == 2 and "german.csv, line 1: the cells are separated by semicolons" in result.stderr
    told = re.search(r'python -c ".+"', result.stderr)[0]
    subprocess.run(told.replace("python", sys.executable, 1), shell=True, check=True)
    again = calibrate("german_commas.csv", "--scorers", "useful")
    assert again.exit_code == 0 and again.stdout == calibrate("judged.csv", "--scorers", "useful").stdout


def test_the_command_that_writes_a_table_again_changes_no_text(folder):
    rows = 'user;prompt;clip\n001;"ein Böt, 1,5 m";31,2\nNA;1,5e-3;-1,5e-3\n'
    (folder / "old.csv").write_bytes(rows.encode("cp1252"))
    told = re.search(r'python -c ".+"', calibrate("old.csv", "--scorers", "clip").stderr)[0]
    subprocess.run(told.replace("python", sys.executable, 1), shell=True, check=True)
    written = (folder / "old_commas.csv").read_text("utf-8")
    assert written == 'user,prompt,clip\n001,"ein Böt, 1,5 m",31.2\nNA,1.5e-3,-1.5e-3\n'


def test_a_spreadsheet_is_refused_with_the_command_that_writes_its_table(folder):
    (folder / "judged.xlsx").write_bytes(b"PK")
    told = "pip install openpyxl && python -c \"import pandas; pandas.read_excel('judged.xlsx', dtype=str"
    for words in (["calibrate", "--judgements"], ["score", "--images"]):
        found = invoke([*words, "judged.xlsx"])
        assert found.exit_code == 2 and "judged.xlsx is a spreadsheet" in found.stderr and told in found.stderr


def test_a_place_that_is_neither_a_file_nor_a_benchmark_is_refused(folder):
    result = calibrate("judgd.csv", "--scorers", "useful")
    assert result.exit_code == 2
    assert "judgd.csv is neither a file or folder nor a benchmark (pickapic, " in result.stderr


def test_options_of_judgements_need_judgements():
    with pytest.raises(OptionsError, match=r"--rating is for --judgements; --ties is for --judgements"):
        CalibrateOptions(rating="x", ties="davidson")
    with pytest.raises(OptionsError, match="--prompt has no use: the layout of hpdv2 is known"):
        CalibrateOptions(judgements="hpdv2", prompt="x")


def test_columns_that_are_named_like_scorers_are_taken_without_being_listed(folder):
    judged().rename(columns={"useful": "pickscore", "useless": "votes"}).to_csv("judged.csv", index=False)
    assert calibrate("judged.csv").exit_code == 0
    assert [fit.name for fit in Calibration.load("calibration.json").fits] == ["pickscore"]


def test_weights_stay_at_0_or_above_where_asked(folder):
    judged(worse=-judged()["useful"] + np.linspace(0, 1, 120)).to_csv("judged.csv", index=False)
    assert calibrate("judged.csv", "--scorers", "useful,worse", "--nonnegative").exit_code == 0
    assert min(term.weight for term in Calibration.load("calibration.json").fit_for(["useful", "worse"]).terms) >= 0


def test_the_face_of_raters_is_a_further_term(folder):
    rated = pd.concat([judged(10).assign(user=f"u{number}") for number in range(4)], ignore_index=True)
    au4 = np.random.default_rng(1).uniform(0, 3, len(rated))
    rated.assign(au4=au4, rating=rated["rating"] - 2 * au4).to_csv("judged.csv", index=False)
    result = calibrate("judged.csv", "--scorers", "useful", "--aus", "au4", "--au-source", "mine")
    assert result.exit_code == 0, result.output
    calibration = Calibration.load("calibration.json")
    assert calibration.au_source == "mine"
    assert [term.name for term in calibration.fits[-1].terms] == ["useful", "au4"]


@pytest.fixture
def redness(folder, monkeypatch):
    """A scorer of somebody's: the mean of the red values."""
    (folder / "redness.py").write_text(
        "class Redness:\n    name = 'redness'\n\n    def __call__(self, pixels, prompts):\n"
        "        return pixels[:, 0].mean((1, 2))\n"
    )
    monkeypatch.syspath_prepend(folder)
    return "redness:Redness"


def red(value):
    """A picture of this red, as PNG."""
    Image.new("RGB", (8, 8), (int(value), 0, 0)).save(file := io.BytesIO(), "png")
    return file.getvalue()


def test_scores_are_computed_once_and_pictures_that_cannot_be_read_are_named(folder, redness):
    (folder / "pictures").mkdir()
    table, rng = judged(12), np.random.default_rng(0)
    reds = rng.integers(0, 256, len(table))
    for name, value in zip(table["image"], reds, strict=True):
        (folder / "pictures" / name).write_bytes(red(value))
    (folder / "pictures" / table["image"][0]).write_bytes(b"no picture")
    table.assign(rating=reds / 60 + rng.gumbel(size=len(table))).to_csv("judged.csv", index=False)
    words = ["judged.csv", "--images", "pictures", "--scorers", f"{redness},useful", "--device", "cpu"]
    first = calibrate(*words)
    assert first.exit_code == 3, first.output
    assert "1 picture could not be scored: calibration.json.scores/scores.parquet.errors.csv" in first.stderr
    lost = "1 picture could not be scored, such as 0.png of prompt 'prompt 0': 2 of 36 pairs are left out."
    assert lost in first.stdout
    calibration = Calibration.load("calibration.json")
    assert (calibration.dataset["unscored"], calibration.dataset["unscored_pairs"]) == (1, 2)
    weights = calibration.fits[-1].terms
    assert weights[0].weight > 0.5
    assert "34 pairs of 35 images" in first.stdout
    again = calibrate(*words)
    assert (again.stdout, again.exit_code) == (first.stdout, 3)
    reported = calibrate(*words, "--json", "--report", "report")
    assert json.loads(reported.stdout)["dataset"]["unscored_pairs"] == 2
    assert json.loads(reported.stdout)["errors"] == "calibration.json.scores/scores.parquet.errors.csv"
    assert lost in (folder / "report" / "report.md").read_text()


def test_a_loss_of_most_pairs_is_refused_and_paths_of_windows_are_found(folder, redness):
    table, rng = judged(10), np.random.default_rng(0)
    table["image"] = [f"set/{name}" for name in table["image"]]
    (folder / "set").mkdir()
    reds = rng.integers(0, 256, len(table))
    table["rating"] = reds / 60 + rng.gumbel(size=len(table))
    for name, value in list(zip(table["image"], reds, strict=True)):
        (folder / name).write_bytes(red(value))
    words = ["judged.csv", "--scorers", redness, "--device", "cpu"]
    table["image"] = [name.replace("/", "\\") if number % 2 else name for number, name in enumerate(table["image"])]
    table.to_csv("judged.csv", index=False)
    found = calibrate(*words)
    assert found.exit_code == 0, found.output
    before = (folder / "calibration.json").read_bytes()
    assert invoke(["score", "--images", "judged.csv", "--scorers", redness, "--out", "scores.csv"]).exit_code == 0
    for number in range(0, len(table), 3):  # two of three pairs of each prompt
        (folder / "set" / f"{number}.png").unlink()
    refused = calibrate(*words)
    assert refused.exit_code == 2
    assert (
        "10 pictures could not be scored, such as set/0.png of prompt 'prompt 0': 20 of 30 pairs would be lost; the"
        in (refused.stderr)
    )
    assert (folder / "calibration.json").read_bytes() == before


def test_pictures_that_are_not_there_are_named(folder, redness):
    words = ["judged.csv", "--scorers", redness, "--device", "cpu"]
    without = calibrate(*words, "--images", "pix")
    assert without.exit_code == 2 and "--images pix is no folder" in without.stderr
    assert not (folder / "calibration.json.scores").exists()
    (folder / "pix").mkdir()
    empty = calibrate(*words, "--images", "pix")
    assert empty.exit_code == 2 and "120 of 120 pairs would be lost; the first is 0.png: " in empty.stderr


def pickapic(count=30):
    """Choices of the redder of two pictures, one in five of the other; with a score in columns, and pictures."""
    rng = np.random.default_rng(0)
    reds = rng.integers(0, 256, (count, 2))
    first = (reds[:, 0] > reds[:, 1]) ^ (np.arange(count) % 5 == 0)
    table = pd.DataFrame({"caption": [f"p{n}" for n in range(count)], "label_0": first * 1.0, "label_1": 1.0 - first})
    for side in (0, 1):
        table[f"image_{side}_uid"] = [f"{n}-{side}" for n in range(count)]
        table[f"jpg_{side}"] = [red(value) for value in reds[:, side]]
        table[f"warmth_{side}"] = reds[:, side] / 255
    return table.assign(has_label=True, ranking_id=range(count))


def test_a_folder_like_pick_a_pic_by_its_columns_and_by_the_name_of_the_benchmark(folder, redness):
    (folder / "pap" / "data").mkdir(parents=True)
    pickapic().to_parquet("pap/data/test_unique-00000-of-00001.parquet")
    columns = calibrate("pap", "--scorers", "warmth")
    assert columns.exit_code == 0, columns.output
    assert "24/30" in columns.stdout
    by_column = Calibration.load("calibration.json").fits[0].terms[0]
    computed = calibrate("pickapic", "--data", "pap", "--scorers", redness, "--device", "cpu")
    assert computed.exit_code == 0, computed.output
    assert "24/30" in computed.stdout
    by_picture = Calibration.load("calibration.json").fits[0].terms[0]
    assert by_picture.weight == pytest.approx(by_column.weight, rel=1e-3)
    assert by_picture.mean == pytest.approx(by_column.mean, rel=1e-3)


def test_a_benchmark_takes_scores_of_a_second_table(folder):
    table = judged(10, images=3)
    (folder / "hpd").mkdir()
    groups = [group for _, group in table.groupby("prompt", sort=False)]
    rankings = [
        {"prompt": group["prompt"].iloc[0], "image_path": group["image"].tolist(), "rank": (-group["rating"]).tolist()}
        for group in groups
    ]
    (folder / "hpd" / "test.json").write_text(json.dumps([*rankings, {"prompt": "", "image_path": [], "rank": []}]))
    table[["image", "prompt", "useful"]].to_csv("scores.csv", index=False)
    words = ("--scores", "scores.csv", "--scorers", "useful")
    named = calibrate("hpdv2", "--data", "hpd", *words)
    assert named.exit_code == 0, named.output
    assert "30 pairs of 30 images, of 10 prompts" in named.stdout
    assert "1 row of rankings with no prompt" in named.stdout


def test_pictures_that_changed_after_they_were_scored_are_refused(folder, redness):
    """Two are exchanged, as names alone do not show."""
    table, rng = judged(12), np.random.default_rng(0)
    for name, value in zip(table["image"], rng.integers(0, 256, len(table)), strict=True):
        (folder / name).write_bytes(red(value))
    table.to_csv("judged.csv", index=False)
    assert invoke(["score", "--images", "judged.csv", "--scorers", redness, "--out", "scores.csv"]).exit_code == 0
    scored = pd.read_csv("scores.csv")
    scored[["image", "prompt", "image_digest", redness]].to_csv("second.csv", index=False)
    ways = [("scores.csv",), ("judged.csv", "--scores", "second.csv"), ("scores.csv", "--images", ".")]
    for words in ways:
        assert calibrate(*words, "--scorers", redness).exit_code == 0
    (folder / "1.png").rename("x.png")
    (folder / "2.png").rename("1.png")
    (folder / "x.png").rename("2.png")
    for words in ways:
        result = calibrate(*words, "--scorers", redness)
        assert result.exit_code == 2, result.output
        assert "2 of 36 pictures in . changed after being scored, such as 1.png: score them again" in result.stderr
    scored.drop(columns="image_digest").to_csv("scores.csv", index=False)
    assert calibrate("scores.csv", "--scorers", redness).exit_code == 0
    (folder / "elsewhere").mkdir()
    assert (
        calibrate("judged.csv", "--scores", "second.csv", "--scorers", redness, "--images", "elsewhere").exit_code == 0
    )


def test_weights_that_are_replaced_are_named(folder):
    assert "replaced" not in calibrate("judged.csv", "--scorers", "useful").stderr
    assert "replaced" not in calibrate("judged.csv", "--scorers", "useful").stderr  # the same again
    former = Calibration.load("calibration.json").fingerprint()
    said = calibrate("judged.csv", "--scorers", "useless").stderr
    assert f"calibration.json had other weights (fingerprint {former[:16]}, made by `fergi-reward" in said
    (folder / "calibration.json").write_text("{}")
    assert (
        "calibration.json was no calibration that can be read" in calibrate("judged.csv", "--scorers", "useful").stderr
    )
    assert Calibration.load("calibration.json").fingerprint() == former


def test_scores_of_columns_are_said_to_be_of_no_known_checkpoint(folder):
    judged().rename(columns={"useful": "pickscore"}).to_csv("judged.csv", index=False)
    for words in ((), ("--scorers", "pickscore,useless")):
        said = calibrate("judged.csv", *words).stderr
        assert said.startswith("pickscore: taken from the table, so which checkpoint gave these scores is not known")
    assert "checkpoint" not in calibrate("judged.csv", "--scorers", "useless").stderr


@pytest.mark.parametrize(("value", "what"), [(3e8, "a mean of size 2.5e+06"), (-3e8, "a mean of size 2.5e+06")])
def test_a_score_that_is_far_too_large_is_named_with_its_picture(folder, value, what):
    table = judged()
    table.loc[7, "useful"] = value
    table.to_csv("judged.csv", index=False)
    result = calibrate("judged.csv", "--scorers", "useless,useful")
    assert result.exit_code == 2 and f"useful has {what}" in result.stderr
    assert f"{value:g}, for image 7.png of prompt 'prompt 2': correct that row" in result.stderr


def test_groups_are_called_by_their_column(folder):
    judged(day=["mon", "tue", "wed"] * 40, category=np.repeat(["a", "b", "c", "d"], 30)).to_csv(
        "judged.csv", index=False
    )
    by_prompt = calibrate("judged.csv", "--scorers", "useful", "--group", "prompt").stdout
    assert "each prompt judged by a fit without it" in by_prompt and "of 40 prompts;" in by_prompt
    by_column = calibrate("judged.csv", "--scorers", "useful", "--group", "category").stdout
    assert "each category judged by a fit without it" in by_column and "of 4 categories;" in by_column


def test_pictures_without_scores_are_named_where_too_few_prompts_are_left(folder):
    table = judged(3)
    table.drop(columns=["useful", "useless"]).to_csv("judged.csv", index=False)
    table[["image", "prompt", "useful"]].iloc[:-2].to_csv("scores.csv", index=False)
    result = calibrate("judged.csv", "--scores", "scores.csv", "--scorers", "useful")
    assert result.exit_code == 2 and "the pairs are of 2 prompts" in result.stderr
    assert "scores.csv has no scores of 2 judged pictures, such as 7.png of prompt 'prompt 2'" in result.stderr
