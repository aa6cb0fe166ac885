import json
import os
import shutil
import signal
import subprocess

import pytest
import torch

from fergi_reward.cli.command import Command
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.interrupts import raised
from fergi_reward.files.atomic import atomic_folder
from fergi_reward.toy import tiny
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.ddpo import DDPOConfig
from fergi_reward.trainers.nft import NFTTrainer
from fergi_reward.trainers.run import Run
from tests.command_line import invoke


def run_in(folder, **options):
    return Run(TrainerConfig(output_dir=str(folder), log_with="none", **options))


def checkpoint(run, epoch):
    state = {"trainer": "T", "identity": {}, "seen": [], "weights": "", "value": epoch * 10}
    run.checkpoints.save(epoch, state, lambda folder: (folder / "adapter").write_text(str(epoch)))


@pytest.mark.parametrize(
    ("options", "allowed"), [({"allow_tf32": False}, False), ({"async_reward_computation": True}, False), ({}, True)]
)
def test_tf32_is_off_for_matrices_and_convolutions_where_a_thread_would_switch_it(tmp_path, options, allowed):
    Run(DDPOConfig(output_dir=str(tmp_path), log_with="none", **options))
    assert torch.backends.cuda.matmul.allow_tf32 == torch.backends.cudnn.allow_tf32 == allowed


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    run = run_in(tmp_path, num_checkpoint_limit=2)
    for epoch in (8, 9, 10):
        checkpoint(run, epoch)
    assert sorted(path.name for path in run.checkpoints.folder.iterdir()) == ["epoch_0009", "epoch_0010"]


def test_resuming_from_a_run_takes_its_newest_checkpoint(tmp_path):
    first = run_in(tmp_path / "first")
    for epoch in (9, 10):
        checkpoint(first, epoch)
    run = run_in(tmp_path / "second", resume_from=str(first.folder))
    newest = run.checkpoints.to_resume()
    assert newest == first.checkpoints.folder / "epoch_0010"
    assert run.checkpoints.load(newest, "T", {}, run.say)[0]["value"] == 100
    older = run_in(
        tmp_path / "second", resume_from=str(first.checkpoints.folder / "epoch_0009")
    ).checkpoints.to_resume()
    assert older == first.checkpoints.folder / "epoch_0009"


def test_a_checkpoint_that_fails_half_way_leaves_the_old_ones_and_no_rest(tmp_path):
    run = run_in(tmp_path)
    checkpoint(run, 1)

    def disk_full(folder):
        (folder / "adapter").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(FergiRewardError, match=r"epoch_0002 \(No space left on device"):
        run.checkpoints.save(2, {}, disk_full)
    assert [path.name for path in run.checkpoints.folder.iterdir()] == ["epoch_0001"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 48 MB, and a function that leaves so many bytes of it free."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")

    def leave(free):
        (disk / "filler").write_bytes(b"0" * (shutil.disk_usage(disk).free - free))

    yield disk, leave
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize(("full", "free"), [(False, 40_000), (False, 120_000), (True, 600_000)])
def test_a_disk_that_is_full_leaves_the_older_checkpoint_and_is_named(small_disk, trainer_of, full, free):
    disk, leave = small_disk
    options = {"output_dir": str(disk / "run"), "full_finetuning": full, "save_freq": 1}
    trainer_of(**options).train()
    leave(free)
    options |= {"num_epochs": 2, "resume_from": str(disk / "run")}
    with pytest.raises(FergiRewardError, match=r"cannot write .*epoch_0002 \(.*(No space|disk is full).*\): make room"):
        trainer_of(pipeline=tiny.stable_diffusion(), **options).train()
    assert [path.name for path in (disk / "run" / "checkpoints").iterdir()] == ["epoch_0001"]
    (disk / "filler").unlink()
    trainer_of(pipeline=tiny.stable_diffusion(), **options).train()
    assert {path.name for path in (disk / "run" / "checkpoints").iterdir()} == {"epoch_0001", "epoch_0002"}


def test_what_a_killed_run_of_full_fine_tuning_left_is_swept_by_the_next(trainer_of, tmp_path):
    for place in ("run", "run/checkpoints", "run/grids"):
        left = tmp_path / place / ".partial-0123456789abcdef"
        left.mkdir(parents=True)
        (left / "diffusion_pytorch_model.safetensors").write_bytes(b"half")
    trainer_of(full_finetuning=True, train_learning_rate=1e-5).train()
    assert not list(tmp_path.rglob(".partial-*"))


def test_a_folder_is_replaced_whole(tmp_path):
    for name in ("old", "new"):
        with atomic_folder(tmp_path / "lora") as folder:
            (folder / name).touch()
    assert [path.name for path in (tmp_path / "lora").iterdir()] == ["new"]


def test_logging_an_epoch_again_replaces_it_and_what_came_after(tmp_path):
    run = run_in(tmp_path)
    for epoch, reward in [(1, 0.1), (2, 0.2), (3, 0.3), (2, 0.25)]:
        run.log(epoch, {"reward_mean": reward})
    lines = [json.loads(line) for line in run.metrics_file.read_text().splitlines()]
    assert lines == [{"epoch": 1, "reward_mean": 0.1}, {"epoch": 2, "reward_mean": 0.25}]


def test_processes_that_do_not_know_of_each_other_are_refused(tmp_path, monkeypatch):
    # As torchrun starts them on a machine without GPUs where ACCELERATE_USE_CPU is not set.
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(FergiRewardError, match=r"2 processes were started, .* sees 1: .*ACCELERATE_USE_CPU"):
        run_in(tmp_path)


def test_a_fresh_run_does_not_write_over_another(tmp_path):
    checkpoint(run_in(tmp_path), 3)
    with pytest.raises(FergiRewardError, match=r"already holds a run: resume it with --resume-from .*epoch_0003"):
        run_in(tmp_path).checkpoints.to_resume()


def test_names_in_what_a_run_prints_are_no_commands_to_the_terminal(tmp_path, capsys):
    run = run_in(tmp_path / "\x1b[2Jrun")
    for epoch in (3, 4):
        checkpoint(run, epoch)
    run.checkpoints.abandon_after(3, run.say)
    assert "/\\x1b[2Jrun/abandoned\n" in capsys.readouterr().out


def test_resuming_says_what_changed(tmp_path, capsys):
    first = run_in(tmp_path, seed=1)
    checkpoint(first, 3)
    options = {"seed": 2, "num_epochs": 7, "resume_from": str(tmp_path)}
    same = run_in(tmp_path, **options)
    same.checkpoints.load(first.checkpoints.folder / "epoch_0003", "T", {}, same.say)
    assert capsys.readouterr().out == "resuming with changes: seed 1 -> 2\n"
    with pytest.raises(FergiRewardError, match="as another run: lora_rank 4 -> 8"):
        other = run_in(tmp_path, **options, lora_rank=8)
        other.checkpoints.load(first.checkpoints.folder / "epoch_0003", "T", {}, other.say)


def test_more_epochs_than_are_asked_for_are_not_passed_off_as_fewer(tmp_path):
    first = run_in(tmp_path)
    checkpoint(first, 3)
    fewer = run_in(tmp_path, num_epochs=2, resume_from=str(tmp_path))
    with pytest.raises(FergiRewardError, match="epoch_0003 has 3 epochs, but num_epochs is 2: give as many or more"):
        fewer.checkpoints.load(first.checkpoints.folder / "epoch_0003", "T", {}, fewer.say)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_num_inner_epochs": 2, "train_adam_weight_decay": 1e38}, "nan: .* with a smaller train_learning_rate$"),
        (
            {"train_adam_weight_decay": 1e44},
            "weight became infinite: .* train_learning_rate or train_adam_weight_decay$",
        ),
        (
            {"train_kl_beta": 1e38, "train_num_inner_epochs": 2},
            "inf: .*with a smaller train_learning_rate or train_kl_b",
        ),
        ({"train_adam_weight_decay": 1e30, "grid_num_images": 2}, "draws pixels that are no numbers: "),
    ],
)
def test_a_run_whose_weights_are_lost_ends_before_it_writes_them(options, message, trainer_of, tmp_path):
    trainer = trainer_of(**options)
    with pytest.raises(FergiRewardError, match=message):
        trainer.train()
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_loss_that_no_learning_rate_has_touched_is_not_laid_to_it(backprop_trainer_of):
    with pytest.raises(FergiRewardError, match=r"in epoch 1 .*\binf .*: .* again, with a smaller train_loss_scale$"):
        backprop_trainer_of(train_loss_scale=1e300).train()


def test_other_layers_to_adapt_are_refused_and_a_tuple_of_the_same_is_none(tmp_path, capsys):
    first = run_in(tmp_path, lora_target_modules=["to_q", "to_k"])
    checkpoint(first, 3)
    same = run_in(tmp_path, lora_target_modules=("to_q", "to_k"), resume_from=str(tmp_path))
    same.checkpoints.load(first.checkpoints.folder / "epoch_0003", "T", {}, same.say)
    assert not capsys.readouterr().out
    for options in ({"lora_target_modules": ["to_q"]}, {"train_optimizer": "adafactor"}):
        other = run_in(tmp_path, **{"lora_target_modules": ["to_q", "to_k"], "resume_from": str(tmp_path), **options})
        with pytest.raises(FergiRewardError, match=f"as another run: {next(iter(options))} "):
            other.checkpoints.load(first.checkpoints.folder / "epoch_0003", "T", {}, other.say)


def test_a_tracker_takes_a_list_of_layers(tmp_path):
    run = Run(TrainerConfig(output_dir=str(tmp_path), log_with="tensorboard", lora_target_modules=["to_q", "to_k"]))
    run.start_trackers(0, {})
    run.accelerator.end_training()


def test_resuming_from_nothing(tmp_path):
    with pytest.raises(FergiRewardError, match="holds no checkpoint"):
        run_in(tmp_path, resume_from=str(tmp_path / "nowhere")).checkpoints.to_resume()


def test_an_output_folder_that_cannot_be_one(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(FergiRewardError, match=r"output_dir .* cannot be a folder"):
            run_in(place)
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(FergiRewardError, match=r"output_dir .* is the folder of a pipeline"):
        run_in(tmp_path)


def test_a_damaged_state_is_named(tmp_path):
    run = run_in(tmp_path)
    checkpoint(run, 1)
    state = run.checkpoints.folder / "epoch_0001" / "trainer_state.pt"
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(FergiRewardError, match=r"epoch_0001/trainer_state.pt is damaged"):
        run.checkpoints.load(run.checkpoints.folder / "epoch_0001", "T", {}, run.say)


def test_an_abandoned_branch_is_moved_aside_and_neither_resumed_nor_counted(tmp_path):
    run = run_in(tmp_path, num_checkpoint_limit=2)
    for epoch in (1, 9, 10):
        checkpoint(run, epoch)
    run.checkpoints.abandon_after(9, run.say)
    checkpoint(run, 11)
    assert sorted(path.name for path in run.checkpoints.folder.iterdir()) == ["epoch_0009", "epoch_0011"]
    assert [path.name for path in (tmp_path / "abandoned").iterdir()] == ["epoch_0010"]
    assert run_in(tmp_path, resume_from=str(tmp_path)).checkpoints.to_resume() == run.checkpoints.folder / "epoch_0011"


def test_a_run_that_resumes_another_does_not_mix_with_a_third(tmp_path):
    for name in ("first", "third"):
        checkpoint(run_in(tmp_path / name), 3)
    with pytest.raises(FergiRewardError, match=r"third holds another run than .*first"):
        run_in(tmp_path / "third", resume_from=str(tmp_path / "first")).checkpoints.to_resume()


def test_two_trainings_into_one_folder_are_refused(tmp_path):
    run = run_in(tmp_path)
    with run.owned(), pytest.raises(FergiRewardError, match="another run"), run_in(tmp_path).owned():
        pass


def test_metrics_are_json_and_a_torn_line_ends_no_run(tmp_path):
    run = run_in(tmp_path)
    run.log(1, {"loss": float("nan")})
    run.metrics_file.write_text(run.metrics_file.read_text() + '{"epoch": 2, "lo')
    run.log(2, {"loss": 0.5})
    assert run.metrics_file.read_text() == '{"epoch": 1, "loss": null}\n{"epoch": 2, "loss": 0.5}\n'


def no_answer():
    raise FergiRewardError("no answer")


@pytest.mark.parametrize(
    ("end", "status", "said"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGTERM), 143, "stopped by SIGTERM: "),
        (no_answer, 2, "error: no answer; "),
    ],
)
def test_what_ends_a_run_leaves_the_last_whole_epoch_and_the_command_says_once_how_to_resume(
    end, status, said, tmp_path, monkeypatch
):
    run = run_in(tmp_path)
    monkeypatch.setattr(Command, "answer", lambda *_: ended(run, end))
    stopped = invoke(["annotate"])
    assert stopped.exit_code == status
    newest = run.checkpoints.folder / "epoch_0004"
    assert stopped.output == f"{said}resume with --resume-from {newest}\n"


def ended(run, end):
    with raised(), run.interruptible(lambda: checkpoint(run, 4) or True):
        end()


@pytest.mark.parametrize(
    ("trainer", "options"),
    [
        ("trainer_of", {}),
        ("flow_trainer_of", {}),
        ("flow_trainer_of", {"trainer": NFTTrainer, "sample_eta": 0.0}),
        ("backprop_trainer_of", {"reward_margin": -9.0}),
    ],
)
def test_an_epoch_whose_rewards_teach_nothing_is_told(trainer, options, request, capsys):
    made = request.getfixturevalue(trainer)(lambda pixels, prompts: 0.1 + 0 * pixels.mean((1, 2, 3)), **options)
    made.train()
    assert "warning: its gradient was 0, so it taught nothing" in capsys.readouterr().out
