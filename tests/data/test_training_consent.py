"""People who did not agree to the training of models are left out of what trains on a study's reactions."""

import json

import pytest

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.fergi import read_fergi
from fergi_reward.data.layouts import read_preferences, read_reactions
from fergi_reward.data.training_consent import for_training
from fergi_reward.reactions.folder import ReactionFolder
from tests.command_line import invoke


@pytest.fixture
def study(simulated, write_extracted, tmp_path):
    """A function that writes reactions and ratings of simulated viewers, and the words that name them."""
    images = read_fergi(simulated).images
    columns = ["user", "session", "image", "rank", "pickscore"]

    def write(name, users):
        rows = images[images["user"].isin(users)]
        folder = write_extracted(tmp_path / name, rows.assign(au4=rows["au4"].fillna(0.0)), "simulated")
        rows[columns].to_csv(tmp_path / f"{name}.csv", index=False)
        return folder, ["--data", str(folder), "--ratings", str(tmp_path / f"{name}.csv")]

    return write


USERS = ["001", "002", "003", "004"]


def annotated(words, out):
    result = invoke(
        ["annotate", *words, "--expected-accuracy", "0.51", "--signals", "au4", "--out", str(out), "--json"]
    )
    return result, [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def test_annotate_gives_what_it_gives_without_them(study, tmp_path):
    folder, words = study("all", USERS)
    assert annotated(words, tmp_path / "before.jsonl")[0].stderr == ""
    ReactionFolder(folder).write_training({"001": True, "003": True, "004": True})  # 002 is not named
    result, pairs = annotated(words, tmp_path / "pairs.jsonl")
    assert result.exit_code == 0, result.output
    of_each = read_reactions(folder).images["user"].value_counts()
    left_out = (
        f"1 of 4 users of {folder} are left out, with {of_each['002']} of {of_each.sum()} rows: they did not agree"
    )
    assert left_out in result.stderr
    _, of_others = study("others", ["001", "003", "004"])
    assert pairs == annotated(of_others, tmp_path / "others.jsonl")[1] != []
    assert "002" not in {pair["user"] for pair in pairs}


def test_they_are_not_annotated_either_and_calibrate_reads_all(study, simulated, tmp_path):
    folder, words = study("all", USERS)
    ReactionFolder(folder).write_training(dict.fromkeys(USERS[1:], True) | {"001": False})
    result, pairs = annotated(["--data", str(simulated), "--reactions", str(folder)], tmp_path / "p")
    assert result.exit_code == 0, result.output
    assert "001" not in {pair["user"] for pair in pairs}
    assert read_preferences(folder, words[-1]).users == USERS


@pytest.mark.parametrize("command", ["annotate", "fit-predictor"])
def test_a_study_of_refusals_is_refused(study, tmp_path, command):
    folder, words = study("all", USERS)
    ReactionFolder(folder).write_training(dict.fromkeys(USERS, False))
    words = words if command == "annotate" else ["--reactions", str(folder), "--images", "unread.csv"]
    result = invoke([command, *words, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert f"none of the 4 users of {folder} agreed to the training of models" in result.stderr
    assert not (tmp_path / "out").exists()


def test_what_says_neither_is_refused_by_name(study):
    folder, _ = study("all", USERS)
    (folder / "training.csv").write_text("user,training\n001,1\n002,yes\n")
    with pytest.raises(FergiRewardError, match="training of user 002 is 'yes', must be 0 or 1"):
        for_training(read_reactions(folder), folder)


def test_the_last_one_who_is_forgotten_does_not_bring_others_in(study):
    folder, _ = study("all", USERS)
    ReactionFolder(folder).write_training({"001": True})
    ReactionFolder(folder).forget("001")
    with pytest.raises(FergiRewardError, match="none of the 3 users"):
        for_training(read_reactions(folder), folder)
