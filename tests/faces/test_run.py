"""`fergi-reward fit-predictor` on simulated viewers, with their pictures where FERGI's raw data has them."""

import csv
import json

import pytest

from fergi_reward.data.fergi import read_fergi
from fergi_reward.data.layouts import read_reactions
from fergi_reward.data.shown_pictures import read_pictures
from fergi_reward.faces.predictor import ReactionPredictor
from fergi_reward.faces.run import verdict
from fergi_reward.toy import emoji
from fergi_reward.toy.emoji.viewers import write_emoji_fergi
from tests.command_line import invoke

TOWER = f"pickscore={emoji.checkpoints()['pickscore']}"


@pytest.fixture(scope="module")
def viewers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("viewers")
    write_emoji_fergi(folder, [], participants=6, sessions=4, seed=0)
    return folder


def fit(*options):
    return invoke(["fit-predictor", *map(str, options)])


def test_either_layout_of_reactions_and_of_pictures_will_do(viewers, write_extracted, tmp_path):
    options = ["--checkpoint", TOWER, "--decay", "0.8"]
    result = fit(*options, "--reactions", viewers, "--images", viewers, "--out", tmp_path / "one")
    assert result.exit_code == 0, result.output
    listed = tmp_path / "pictures.csv"
    with listed.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user", "session", "image", "file", "prompt"])
        rows.writerows([*key, picture.path, picture.prompt] for key, picture in read_pictures(viewers).items())
    seen = read_fergi(viewers).with_reactions().images.astype({"session": str, "image": str})
    extracted = write_extracted(tmp_path / "reactions", seen, "simulated")
    two_options = ["--images", listed, "--out", tmp_path / "two", "--seed", 1, "--json"]
    result_two = fit(*options, "--reactions", extracted, *two_options)
    assert result_two.exit_code == 0, result_two.output
    one, two = (ReactionPredictor.load(tmp_path / name).record for name in ("one", "two"))
    assert one.dataset == two.dataset
    assert one.held_out != two.held_out
    small = write_extracted(tmp_path / "small", seen.assign(au4=seen["au4"] / 100), "mediapipe-landmarks")
    three_options = ["--checkpoint", TOWER, "--images", listed, "--out", tmp_path / "three"]
    assert fit("--reactions", small, *three_options).exit_code == 0
    three = ReactionPredictor.load(tmp_path / "three").record
    assert (three.au_source, three.decay) == ("mediapipe-landmarks", 0.4 / read_reactions(small).au_unit)
    assert three.decay > 20
    told = json.loads(result_two.stdout)
    assert (told["predictor"], told["decay"], told["participants"]) == (str(tmp_path / "two"), 0.8, 6)
    assert told["held_out"]["accuracy"] == two.held_out.accuracy == told["held_out"]["correct"] / two.held_out.pairs
    assert told["held_out"]["better_than_chance"] is two.held_out.better_than_chance
    assert (one.au_source, one.decay, one.dataset["participants"]) == ("simulated", 0.8, 6)
    assert verdict(one.held_out) in result.output
    assert f"{one.held_out.correct} of {one.held_out.pairs} pairs" in result.output


def test_mistakes_are_one_sentence(viewers, tmp_path):
    pictures = tmp_path / "pictures.csv"
    pictures.write_text("user,session,image,file,prompt\nnobody,1,1,1.png,a cat\n")
    for options, message in (
        (["--images", pictures, "--checkpoint", TOWER], "no picture is listed for user 001, session 1, image"),
        (["--images", viewers, "--checkpoint", "hps_v2=x"], "checkpoints names hps_v2, must be pickscore=FOLDER"),
        (["--images", viewers, "--checkpoint", f"pickscore={tmp_path}"], "has no config.json"),
    ):
        result = fit("--reactions", viewers, "--out", tmp_path / "out", *options)
        assert result.exit_code == 2
        assert message in result.stderr
    assert not (tmp_path / "out").exists()
