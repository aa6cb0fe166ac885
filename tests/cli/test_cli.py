import json
import os
import re
import runpy
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

import fergi_reward
from fergi_reward.diffusion.registry import TOYS
from tests.command_line import commands, invoke


def run(*arguments):
    return invoke(arguments)


def mistake(result):
    """The one sentence of a user's mistake: status 2 and no traceback."""
    assert result.exit_code == 2, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "command",
    [[], ["calibrate"], ["activations"], ["extract"], ["forget"], ["data", "fetch"], ["evaluate", "preferences"]],
)
def test_help(command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Usage: " in result.output


@pytest.mark.parametrize("module", ["__main__", "cli/__main__"])
def test_python_runs_the_command_by_either_module(module, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["fergi-reward", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(Path(fergi_reward.__file__).parent / f"{module}.py"), run_name="__main__")
    assert ended.value.code == 0
    assert "version" in capsys.readouterr().out


def test_names_in_messages_cannot_drive_the_terminal(tmp_path):
    """Colours, titles, cursor moves and new lines in the names of files and columns."""
    for text in ("image,promp\x1b[31mt\n0.png,x\n", 'image,prompt,"\x1b]0;title\x07\n"\n0.png,x\n'):
        (tmp_path / "\x1b[2Jm.csv").write_text(text)
        result = run("score", "--images", tmp_path / "\x1b[2Jm.csv", "--out", tmp_path / "s.csv")
        assert "\\x1b[2Jm.csv" in mistake(result)
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", result.stdout + result.stderr)


def help_of(option):
    return option.metadata.get("help", "")


def test_one_thing_has_one_name_and_one_default_in_all_commands():
    every = {name: command.options for name, command in commands().items()}
    assert not [name for name, options in every.items() if {"base", "pipeline", "checkpoint"} & set(options)]
    for name in ("best-of", "evaluate models", "train ddpo"):
        assert sorted(re.findall(r"emoji\w*|tiny\w*", help_of(every[name]["model"]))) == sorted(TOYS.builtin)
    helps = {help_of(options["device"]) for options in every.values() if "device" in options}
    assert helps == {"Such as cuda. [default: this process's GPU, else the CPU]"}
    named = [name for name, options in every.items() if "calibration" in options]
    training = [f"train {name}" for name in ("ddpo", "flow_grpo", "prompt_grpo", "reward_backprop")]
    assert set(named) >= {"annotate", "best-of", "evaluate models", "evaluate preferences", "score", *training}
    assert not [name for name in named if "`shipped` is the one" not in help_of(every[name]["calibration"])]


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("score --images a.csv --out a.csv", "--images"),
        ("score --images . --prompts link.csv --out a.csv", "--prompts"),
        ("calibrate --data . --ratings a.csv --out ./a.csv", "--ratings"),
        ("annotate --data . --calibration shipped --images a.csv --out a.csv", "--images"),
        ("score --config a.yaml --images a.csv --out a.yaml", "--config"),
    ],
)
def test_no_command_writes_over_a_file_that_it_reads(tmp_path, monkeypatch, command, option):
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("image,prompt\n0.png,a cat\n")
    Path("link.csv").symlink_to("a.csv")
    Path("a.yaml").write_text("scorers: clip\n")
    assert f"is the file of {option}, which is read: choose another" in mistake(run(*command.split()))
    assert Path("a.csv").read_text() == "image,prompt\n0.png,a cat\n"


@pytest.mark.parametrize("listed", ["[pickscore, nonsense]", "pickscore, nonsense"])
def test_scorers_may_be_a_list_in_a_file(simulated, tmp_path, listed):
    (tmp_path / "c.yaml").write_text(f"scorers: {listed}\ndata: {simulated}\n")
    result = run("calibrate", "--config", tmp_path / "c.yaml", "--out", tmp_path / "c.json")
    assert "the preference table has no column nonsense" in mistake(result)


def test_annotate_knows_the_shipped_calibration(simulated, tmp_path):
    asked = ["--signals", "au4", "--rule", "paper", "--out", tmp_path / "pairs.jsonl", "--calibration", "shipped"]
    result = run("annotate", "--data", simulated, *asked)
    assert "the calibration was fitted on AU source 'fergi-ir50'" in mistake(result)


def test_calibrate_writes_the_calibration_and_a_report(simulated, tmp_path):
    pytest.importorskip("matplotlib", reason="plots come with the extra report")
    out, report = tmp_path / "c.json", tmp_path / "report"
    result = run("calibrate", "--data", simulated, "--protocol", "paper-v1", "--out", out, "--report", report)
    assert result.exit_code == 0, result.output
    record = json.loads((report / "report.json").read_text())
    table = record["results"]["weighted_sum+au4"]
    assert table["correct"] == sum(user["correct"] for user in table["per_participant"].values())
    assert table["pairs"] == record["pairs"] == json.loads(out.read_text())["dataset"]["pairs"]
    assert table["ci95"][0] <= table["accuracy"] <= table["ci95"][1]
    assert record["published_accuracy_percent"] == {}  # nothing was published about simulated viewers
    assert f"{table['correct']}/{table['pairs']}" in result.output
    assert f"{table['correct']}/{table['pairs']}" in (report / "report.md").read_text()
    for plot in ("accuracy.png", "coverage.png"):
        assert (report / plot).read_bytes().startswith(b"\x89PNG")


def test_skip_bad_lists_what_it_left_out(simulated, tmp_path):
    folder = shutil.copytree(simulated, tmp_path / "fergi")
    path = folder / "preparation" / "preprocessed_image_data" / "003.csv"
    path.write_text(path.read_text().replace("\n1,2,", "\n1,two,"))
    command = ["calibrate", "--data", folder, "--protocol", "paper-v1", "--out", tmp_path / "c.json"]
    assert "003.csv, row 3, column image_index: 'two' is not a number" in mistake(run(*command))
    assert not (tmp_path / "c.json").exists()
    result = run(*command, "--skip-bad", "--report", tmp_path / "report")
    assert result.exit_code == 0, result.output
    assert "1 bad rows" in result.output
    for name in ("report.json", "report.md"):
        assert "003.csv, row 3, column image_index" in (tmp_path / "report" / name).read_text()


def test_calibrate_on_fergi_prints_the_papers_figures(fergi, tmp_path):
    result = run("calibrate", "--data", fergi, "--protocol", "paper-v1", "--out", tmp_path / "c.json")
    assert "| weighted_sum+au4      |     2361/3534 |     66.81% |" in result.output
    assert "participants 002 (restless), 004 (restless), 039 (restless)" in result.output


def test_activations_from_frames(simulated, tmp_path):
    out = tmp_path / "a.csv"
    result = run("activations", "--data", simulated, "--out", out)
    assert result.exit_code == 0, result.output
    table = pd.read_csv(out, dtype={"user": str})
    assert f"{len(table)} valid clips" in result.output
    prepared = pd.read_csv(simulated / "preparation/preprocessed_reaction_data/001.csv")
    computed = table[(table["clip"] == "reaction") & (table["user"] == "001")]
    assert computed["au4"].tolist() == pytest.approx(prepared["AU4_activation_value"].tolist(), abs=1e-6)


def test_simulate_then_calibrate_from_frames(tmp_path):
    assert run("data", "simulate", "--out", tmp_path / "s", "--participants", 3, "--sessions", 3).exit_code == 0
    result = run("calibrate", "--data", tmp_path / "s", "--from-frames", "--out", tmp_path / "c.json")
    assert result.exit_code == 0, result.output


def test_the_command_line_goes_before_the_config(simulated, tmp_path):
    config = tmp_path / "c.yaml"
    settings = {"data": str(simulated), "protocol": "bradley-terry", "out": str(tmp_path / "a.json"), "seed": 5}
    config.write_text(yaml.safe_dump(settings))
    assert run("calibrate", "--config", config, "--protocol", "paper-v1").exit_code == 0
    record = json.loads((tmp_path / "a.json").read_text())
    assert (record["protocol"], record["seed"]) == ("paper-v1", 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("protocl: paper-v1", "unknown option 'protocl': did you mean 'protocol'?"),
        ("out: [a]", "out is ['a'], must be a path"),
        ("report: false", "report is False, must be a path"),
        ("skip_bad: 2", "skip_bad is 2, must be true or false"),
        ("seed: 1.5", "seed is 1.5, must be a whole number"),
        ("seed: -1", "seed is -1, must be at least 0"),
        ("protocol: paper-v1\nscorers: clip", "paper-v1 chooses itself what it weighs: leave scorers out, got clip"),
        ("protocol: paper-v9", "no protocol 'paper-v9': did you mean"),
        ("seed: soon", "seed is 'soon', must be a whole number"),
        ("- a\n- b", "must contain a YAML mapping"),
        ("a: [", "cannot read the configuration"),
        (None, "cannot read the configuration"),
    ],
)
def test_a_config_that_cannot_be_used(simulated, tmp_path, text, message):
    config = tmp_path / "c.yaml"
    if text is not None:
        config.write_text(text)
    assert message in mistake(run("calibrate", "--config", config, "--data", simulated))


def test_any_column_can_be_weighed(simulated, tmp_path):
    out = tmp_path / "c.json"
    result = run("calibrate", "--data", simulated, "--scorers", "clip,aesthetic", "--out", out)
    assert result.exit_code == 0, result.output
    assert "| aesthetic+au4" in result.output
    assert {fit["name"] for fit in json.loads(out.read_text())["fits"]} >= {"clip", "weighted_sum", "weighted_sum+au4"}


def test_action_units_can_be_weighed(simulated, tmp_path):
    out, report = tmp_path / "c.json", tmp_path / "report"
    result = run("calibrate", "--data", simulated, "--aus", "AU4, AU12", "--out", out, "--report", report)
    assert result.exit_code == 0, result.output
    assert "| weighted_sum+au4+au12" in result.output
    fits = {fit["name"]: fit for fit in json.loads(out.read_text())["fits"]}
    assert [term["name"] for term in fits["weighted_sum+au4"]["terms"]][3:] == ["au4"]
    assert len(fits["weighted_sum+au4+au12"]["terms"]) == 3 + 2 * 2
    record = json.loads((report / "report.json").read_text())
    effect = record["action_units"]["au12"]
    assert effect["ci95"][0] <= effect["log_odds"] <= effect["ci95"][1]
    row = next(line for line in (report / "report.md").read_text().splitlines() if line.startswith("| au12 "))
    assert f" {effect['log_odds']:+.3f} |" in row
    assert set(record["regression_on_alignment_and_fidelity"]) >= {"image_reward", "au4", "au26"}


@pytest.mark.parametrize(
    ("aus", "message"),
    [
        ("clip", "aus are different action units such as au4, or all, got clip"),
        ("AU4,AU4", "got au4, au4"),
        ("", "or all, got"),
        ("all,AU4", "got all, au4"),
        ("AU4,AU13", "no column au13; it has"),
    ],
)
def test_what_is_no_action_unit_is_refused(simulated, tmp_path, aus, message):
    assert message in mistake(run("calibrate", "--data", simulated, "--aus", aus, "--out", tmp_path / "c.json"))


def test_results_are_no_devices_and_no_folders(simulated, tmp_path):
    command = ["calibrate", "--data", simulated, "--protocol", "paper-v1", "--out"]
    assert "is no ordinary file" in mistake(run(*command, tmp_path))
    os.mkfifo(tmp_path / "pipe")
    assert "is no ordinary file" in mistake(run(*command, tmp_path / "pipe"))


def test_a_damaged_folder_is_one_sentence_and_writes_nothing(simulated, tmp_path):
    assert "is not a folder" in mistake(run("calibrate", "--data", tmp_path / "nowhere", "--out", tmp_path / "c.json"))
    file = tmp_path / "file"
    file.write_text("")
    assert "is not a folder" in mistake(run("activations", "--data", file, "--out", tmp_path / "a.csv"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["calibrate_paper_v1", "calibrate_paper_v3", "calibrate_bradley_terry"])
def test_the_shipped_configs_name_their_own_options(fergi, tmp_path, name):
    config = Path(__file__).parents[2] / "configs" / f"{name}.yaml"
    here = ["--out", tmp_path / "c.json", "--report", tmp_path]
    result = run("calibrate", "--config", config, "--data", fergi, "--protocol", "paper-v1", *here)
    assert result.exit_code == 0, result.output
