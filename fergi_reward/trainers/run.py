"""A training run on disk: accelerator, trackers, metrics, and checkpoints that a killed run resumes from.

A run's folder holds `lora/` (the finished adapter; `unet/` or `transformer/` after full fine-tuning), `best/` (the one
that held-out judges liked most, if there are judges), `checkpoints/epoch_NNNN/`, `grids/`, `logs/` and `metrics.jsonl`.
Names count finished epochs. `abandoned/` holds checkpoints that a run left behind when it went back to an older one.
"""

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from fergi_reward.core import interrupts
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.terminal import for_terminal
from fergi_reward.files.atomic import folder_written_whole, sweep, write_text
from fergi_reward.files.json_files import parse_json
from fergi_reward.files.locks import owned
from fergi_reward.files.tensor_files import read_state
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.identity import Identity, changes, check_changes
from fergi_reward.trainers.preflight import check_can_start

WEIGHT_DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
STATE_FILE = "trainer_state.pt"
# Version of the state's layout; 2 holds what was trained on.
FORMAT = 2
LAYOUT = {"epoch": int, "trainer": str, "config": dict, "identity": dict, "seen": list, "weights": str}
# Options that make it another run whatever is allowed: weights, or what is remembered of them, would not fit.
FIXED = {"lora_rank", "lora_alpha", "full_finetuning"}
# Before DiffusionNFT had a trainer of its own, Flow-GRPO's had the options of both. By objective: which trainer such a
# checkpoint belongs to today, and which of its options are not that trainer's.
FORMER = {
    "grpo": ("FlowGRPOTrainer", {"nft_beta", "nft_old_decay"}),
    "nft": ("NFTTrainer", {"train_clip_range", "sde_window_size", "sde_window_stride", "sde_window_epochs"}),
}
# Options that may change when a run is resumed without making it another run.
HOUSEKEEPING = {
    *("output_dir", "num_epochs", "resume_from", "allow_changes", "save_freq", "num_checkpoint_limit"),
    *("log_with", "tracker_project_name", "grid_freq", "grid_num_images", "offload_encoders"),
    *("stop_when_judge_falls", "judge_freq", "judge_patience", "judge_tolerance"),
}


class Run:
    """The accelerator of a run, and everything that the run writes.

    Attributes:
        accelerator: accelerate's view of devices, processes and precision.
        folder: The run's folder.
    """

    def __init__(self, config: TrainerConfig) -> None:
        from accelerate import Accelerator
        from accelerate.utils import GradientAccumulationPlugin

        check_can_start(config)
        self.config = config
        self.folder = Path(config.output_dir)
        self.checkpoints = self.folder / "checkpoints"
        self.metrics_file = self.folder / "metrics.jsonl"
        check_output(config)
        self.accelerator = Accelerator(
            mixed_precision=config.mixed_precision,
            log_with=None if config.log_with == "none" else config.log_with,
            project_dir=str(self.folder / "logs"),
            # The trainers divide themselves; what a launcher asks for would divide their gradients again.
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        )
        _check_processes(self.accelerator.num_processes)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = config.uses_tf32

    @property
    def weight_dtype(self) -> torch.dtype:
        """What frozen weights are kept in."""
        return WEIGHT_DTYPES[self.accelerator.mixed_precision]

    def say(self, text: str) -> None:
        """Print on the main process; no name in the text reaches the terminal as a command."""
        self.accelerator.print(for_terminal(text))

    def resume_checkpoint(self) -> Path | None:
        """The checkpoint to resume from, or None for a fresh run.

        Raises:
            FergiRewardError: `resume_from` holds no checkpoint; or the run would write over another.
        """
        found = _newest(self.checkpoints)
        if self.config.resume_from is None:
            if found:
                raise FergiRewardError(
                    f"{self.folder} already holds a run: resume it with --resume_from {found}, "
                    "or choose another output_dir"
                )
            return None
        given = Path(self.config.resume_from)
        checkpoint = given if (given / STATE_FILE).is_file() else _newest(given / "checkpoints") or _newest(given)
        if checkpoint is None:
            raise FergiRewardError(f"resume_from: {given} holds no checkpoint: give a run's folder or a checkpoint's")
        if found and checkpoint.resolve().parent != self.checkpoints.resolve():
            raise FergiRewardError(
                f"{self.folder} holds another run than {checkpoint}: choose another output_dir for what resumes that"
            )
        return checkpoint

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Be the only run in this folder; what a killed one left half-written is deleted.

        Raises:
            FergiRewardError: Another run writes here.
        """
        if not self.accelerator.is_main_process:
            yield
            return
        with owned(self.metrics_file):  # inside the folder, which may be all of a disk that can be written
            for folder in (self.checkpoints, self.folder / "grids"):
                sweep(folder)
            yield

    def abandon_after(self, epoch: int) -> None:
        """Move checkpoints of later epochs aside: a run that goes back to an older one makes its own of these names."""
        later = [path for path in _checkpoints(self.checkpoints) if _epoch_of(path) > epoch]
        if later and self.accelerator.is_main_process:
            aside = self.folder / "abandoned"
            aside.mkdir(exist_ok=True)
            for path in later:
                shutil.rmtree(aside / path.name, ignore_errors=True)
                path.rename(aside / path.name)
            self.say(f"resuming epoch {epoch}: the {len(later)} later checkpoints are now in {aside}")

    def start_trackers(self, finished_epochs: int, trained_on: Mapping[str, str]) -> None:
        """Open the tracker; what it had beyond `finished_epochs`, from a run that was killed, is dropped.

        Args:
            finished_epochs: Number of epochs of the run that is resumed.
            trained_on: What is logged in addition to the options: model, reward, prompts.
        """
        options = {name: value for name, value in asdict(self.config).items() if value is not None}
        # SummaryWriter hides every step from purge_step on, so that a resumed curve has no second branch.
        kwargs = {"tensorboard": {"purge_step": finished_epochs + 1}}
        self.accelerator.init_trackers(self.config.tracker_project_name, {**options, **trained_on}, kwargs)

    def log(self, epoch: int, metrics: dict[str, float]) -> None:
        """Add the metrics of the `epoch`-th epoch, counted from 1, to the tracker and to `metrics.jsonl`.

        The file is written again each time without this or later epochs: a resumed run leaves none twice.
        """
        try:
            self.accelerator.log(metrics, step=epoch)
        except OSError as error:
            raise FergiRewardError(f"cannot write to the tracker ({error.strerror or error}): make room") from error
        if self.accelerator.is_main_process:
            text = self.metrics_file.read_text(encoding="utf-8", errors="replace") if self.metrics_file.exists() else ""
            kept = [line for line in text.splitlines() if _logged_epoch(line) < epoch]
            finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
            line = json.dumps({"epoch": epoch, **finite}, allow_nan=False)
            write_text(self.metrics_file, "\n".join([*kept, line]) + "\n")

    def log_picture(self, name: str, path: Path, epoch: int) -> None:
        """Add a picture to the tracker, after so many finished epochs."""
        for tracker in self.accelerator.trackers:
            layout = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
            tracker.log_images({name: np.asarray(Image.open(path).convert("RGB"))[None]}, step=epoch, **layout)

    def save_checkpoint(self, epoch: int, state: dict[str, Any], save_weights: Callable[[Path], None]) -> None:
        """Write `checkpoints/epoch_NNNN`, whole or not at all, and delete the oldest beyond the limit.

        A signal that arrives meanwhile waits until that is done.

        Args:
            epoch: Finished epochs.
            state: All of `LAYOUT` but `epoch` and `config`, and what the trainer needs besides its weights: tensors,
                numbers, text, and lists and dicts of them.
            save_weights: Writes what is trained into the folder it is given.
        """
        if self.accelerator.is_main_process:
            with interrupts.deferred():
                with folder_written_whole(self.checkpoints / f"epoch_{epoch:04d}") as folder:
                    save_weights(folder)
                    whole = {"format": FORMAT, "epoch": epoch, "config": asdict(self.config), **state}
                    torch.save(whole, folder / STATE_FILE)
                for old in _checkpoints(self.checkpoints)[: -self.config.num_checkpoint_limit]:
                    shutil.rmtree(old)

    def load_state(self, checkpoint: Path, trainer: str, identity: Identity) -> tuple[dict[str, Any], set[str]]:
        """The state that `save_checkpoint` was given, and which parts of the identity are not what they were then.

        Says which options and which parts those are.

        Args:
            checkpoint: Its folder.
            trainer: Name of the trainer that resumes.
            identity: What it learns from.

        Raises:
            FergiRewardError: The file is damaged or of another version, something else was trained, or it was trained
                on something else and that is not among the changes allowed.
        """
        state = _read_state(checkpoint / STATE_FILE)
        if state["trainer"] != trainer:
            raise FergiRewardError(
                f"{checkpoint} was written by {state['trainer']}, and this is {trainer}: resume it with the former"
            )
        options, before = asdict(self.config), state["config"]
        if unknown := sorted(set(before) - set(options)):
            raise FergiRewardError(
                f"{checkpoint} was written with options that this version does not know ({', '.join(unknown)}): "
                "resume it with the version that wrote it"
            )
        changed = {
            name: f"{name} {value!r} -> {options[name]!r}"
            for name, value in before.items()
            if name not in HOUSEKEEPING and options[name] != value
        }
        if FIXED & set(changed):
            what = ", ".join(changed[name] for name in changed if name in FIXED)
            raise FergiRewardError(f"cannot resume {checkpoint} with other weights to train: {what}; give what it was")
        found = changes(state["identity"], identity)
        check_changes(checkpoint, found, self.config.allowed_changes)
        for what in (", ".join(changed.values()), "; ".join(f"{name} {a} -> {b}" for name, (a, b) in found.items())):
            if what:
                self.say(f"resuming with changes: {what}")
        return state, set(found)

    @contextmanager
    def interruptible(self, save: Callable[[], None]) -> Iterator[None]:
        """When a signal or the end of another process ends the block, save what there is and say how to resume."""
        try:
            yield
        except KeyboardInterrupt as interrupted:
            self._save_and_say(save, str(interrupted) or "interrupted")
            raise
        except RuntimeError as error:
            if not _lost_another(error):
                raise
            reason = "another process of this run ended"
            self._save_and_say(save, reason)
            raise FergiRewardError(f"{reason}, so this one does ({' '.join(str(error).split())[:200]})") from error

    def _save_and_say(self, save: Callable[[], None], why: str) -> None:
        with interrupts.deferred():
            save()
            newest = _newest(self.checkpoints) or self.config.resume_from
            resume = f"resume with --resume_from {newest}" if newest else "there is no checkpoint yet: start again"
            self.say(f"\n{why}; {resume}")


def check_output(config: TrainerConfig) -> None:
    """See that the run's folder can be written, before models are loaded.

    Raises:
        FergiRewardError: It cannot, or is the folder of a pipeline, whose network the trained one would replace.
    """
    folder = Path(config.output_dir)
    if (folder / "model_index.json").exists():
        raise FergiRewardError(f"output_dir {folder} is the folder of a pipeline (model_index.json): choose another")
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise FergiRewardError(
            f"output_dir {folder} cannot be a folder that is written to ({error.strerror}): choose another"
        ) from error


def _check_processes(seen: int) -> None:
    """Refuse processes that do not know of each other: all would write the same run."""
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != seen:
        raise FergiRewardError(
            f"{started} processes were started, but accelerate sees {seen}: on CPUs, export ACCELERATE_USE_CPU=1 first"
        )


def _lost_another(error: RuntimeError) -> bool:
    """Whether an exchange between processes broke off, as gloo and NCCL tell it."""
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error) or "NCCL" in str(error)


def _read_state(file: Path) -> dict[str, Any]:
    """A state with all that `LAYOUT` names."""
    try:
        state = read_state(file)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FergiRewardError(f"{file} is damaged ({reason}): resume an older one") from error
    written = state.get("format", 1) if isinstance(state, dict) else None
    if written in (1, *range(FORMAT + 1, 1000)):
        raise FergiRewardError(
            f"{file} has format {written}, and this version reads {FORMAT}: resume it with the version that wrote it"
        )
    wrong = [name for name, kind in LAYOUT.items() if not isinstance(state, dict) or type(state.get(name)) is not kind]
    if wrong:
        raise FergiRewardError(f"{file} is damaged (it lacks {', '.join(wrong)}): resume an older one")
    return _of_today(state)


def _of_today(state: dict[str, Any]) -> dict[str, Any]:
    """The same of a state that names its objective, as that objective's trainer writes it today."""
    config = dict(state["config"])
    if (objective := config.pop("train_objective", None)) not in FORMER:
        return state
    trainer, others = FORMER[objective]
    own = {name: value for name, value in config.items() if name not in others}
    return {**state, "trainer": trainer, "config": own}


def _logged_epoch(line: str) -> float:
    """The epoch of a line of metrics; a line that a power cut tore belongs to no epoch that is kept."""
    try:
        return float(parse_json(line)["epoch"])
    except (ValueError, KeyError, TypeError):
        return math.inf


def _checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    return sorted((path.parent for path in folder.glob(f"epoch_*/{STATE_FILE}")), key=_epoch_of)


def _epoch_of(checkpoint: Path) -> int:
    number = checkpoint.name.removeprefix("epoch_")
    return int(number) if number.isdecimal() else -1


def _newest(folder: Path) -> Path | None:
    found = _checkpoints(folder)
    return found[-1] if found else None
