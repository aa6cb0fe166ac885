"""What trackers get: the whole provenance, grids as pictures, and one curve however often a run is resumed."""

import json
import struct
from pathlib import Path

import pytest

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.toy import tiny
from fergi_reward.trainers import tracking
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.preflight import check_can_start

BLOCK, HEADER = 32768, 7


@pytest.fixture
def wandb(tmp_path, monkeypatch):
    """wandb without a network, a key or a home."""
    module = pytest.importorskip("wandb", reason="needs the extra wandb")
    for name, value in {"WANDB_MODE": "offline", "HOME": str(tmp_path), "WANDB_SILENT": "true"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    module.teardown()
    yield module
    module.teardown()


def logged(run: Path) -> list[dict]:
    """What each process that logged a run with wandb has left, oldest first: id, config, and the rows by their step."""
    # The names of its folders are by the second, in which two runs may end.
    files = (run / "logs/wandb").glob("offline-run-*/*.wandb")
    return [read_log(file) for file in sorted(files, key=lambda file: file.stat().st_mtime_ns)]


def read_log(file: Path) -> dict:
    from wandb.proto.wandb_internal_pb2 import Record

    found = {"config": {}, "rows": {}}
    for content in records(file.read_bytes()):
        record = Record.FromString(content)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found |= {"id": record.run.run_id, "name": record.run.display_name}
        elif kind == "config":
            found["config"] |= {item.key: json.loads(item.value_json) for item in record.config.update}
        elif kind == "history":
            row = {item.nested_key[0] if item.nested_key else item.key for item in record.history.item}
            found["rows"][record.history.step.num] = {key for key in row if not key.startswith("_")}
    return found


def records(content: bytes):
    """The records of a log in LevelDB's format, which wandb's files have behind seven bytes of their own."""
    place, record = HEADER, b""
    while place + HEADER <= len(content):
        if (left := BLOCK - place % BLOCK) < HEADER:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + HEADER])
        record += content[place + HEADER : place + HEADER + length]
        place += HEADER + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def test_a_resumed_run_continues_its_curve_and_a_killed_one_leaves_no_second_branch(
    wandb, backprop_trainer_of, tmp_path
):
    options = {"log_with": "wandb", "grid_num_images": 1, "grid_freq": 1}
    run = tmp_path / "run"
    backprop_trainer_of(**options).train()
    again = {**options, "resume_from": str(run), "num_epochs": 2}
    backprop_trainer_of(pipeline=tiny.stable_diffusion(seed=0), **again).train()

    first, second = logged(run)
    assert first["id"] == second["id"] and first["name"] == "run"
    assert (list(first["rows"]), list(second["rows"])) == ([0, 1], [2])
    assert first["rows"][0] == {"grid"}
    assert first["rows"][1] >= {"grid", "before_after", "loss", "reward_mean"}
    config = first["config"]
    assert config["trainer"] == "RewardBackpropTrainer" and config["train_learning_rate"] == 5e-3
    assert json.loads(config["learned_from"])["name"].endswith("redness.<locals>.<lambda>")
    assert config["prompts"].startswith("2 prompts, SHA-256 ") and len(config["model"].split()[-1]) == 64
    assert {"command", "fergi_reward", "torch", "processor", "seed"} <= set(config)

    checkpoint = run / "checkpoints/epoch_0001"
    backprop_trainer_of(pipeline=tiny.stable_diffusion(seed=0), **{**again, "resume_from": str(checkpoint)}).train()
    other = logged(run)[-1]
    assert other["id"] != first["id"]
    assert list(other["rows"]) == [0, 1, 2] and other["rows"][1] >= {"grid", "loss"}
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != ".cache") == ["run"]


def test_a_run_of_wandb_that_was_not_closed_is_begun_again_with_all_epochs(tmp_path):
    class Accelerator:
        is_main_process, trackers = True, ()

    track = tracking.Tracking(Accelerator(), TrainerConfig(output_dir=str(tmp_path)))
    fresh, known = track._open_run(3)
    assert known == -1
    (tmp_path / "logs").mkdir()
    file = tmp_path / "logs/wandb_run.json"
    file.write_text('{"id": "one", "epochs": 3}')
    assert track._open_run(3) == track._open_run(4) == ("one", 3)
    assert track._open_run(2)[1] == -1
    file.write_text('{"id": "one", "epo')
    assert track._open_run(3)[1] == -1
    assert len({fresh, track._open_run(2)[0], track._open_run(2)[0], "one"}) == 4


def test_wandb_without_a_key_is_refused_before_anything_is_loaded(wandb, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    wandb.teardown()
    with pytest.raises(FergiRewardError, match=r"but it has no key: run `wandb login`, or set WANDB_MODE=offline"):
        check_can_start(TrainerConfig(log_with="wandb"))


def test_names_of_people_in_paths_are_not_logged(tmp_path):
    class Accelerator:
        is_main_process, trackers = True, ()

    config = TrainerConfig(output_dir="/home/ann smith/run", log_with="none")
    found = tracking.Tracking(Accelerator(), config).provenance({"model": "/home/ann smith/sd15, SHA-256 00ff"})
    assert (found["output_dir"], found["model"]) == ("run", "sd15, SHA-256 00ff")
    assert "ann" not in json.dumps({name: value for name, value in found.items() if name != "command"})
