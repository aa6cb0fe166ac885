"""A training run on disk: accelerator, trackers, metrics, and checkpoints that a killed run resumes from.

A run's folder holds `lora/` (the finished adapter; `unet/` or `transformer/` after full fine-tuning), `best/` (the one
that held-out judges liked most, if there are judges), `checkpoints/epoch_NNNN/`, `grids/`, `logs/` and `metrics.jsonl`.
Names count finished epochs.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from PIL import Image

from fergi_reward.errors import FergiRewardError
from fergi_reward.files import folder_written_whole, write_text
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.preflight import check_can_start

WEIGHT_DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
STATE_FILE = "trainer_state.pt"
# Options that may change when a run is resumed without making it another run.
HOUSEKEEPING = {
    *("output_dir", "num_epochs", "resume_from", "save_freq", "num_checkpoint_limit"),
    *("log_with", "tracker_project_name", "grid_freq", "grid_num_images"),
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
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FergiRewardError(
                f"output_dir {self.folder} cannot be a folder ({error.strerror}): choose another"
            ) from error
        self.accelerator = Accelerator(
            mixed_precision=config.mixed_precision,
            log_with=None if config.log_with == "none" else config.log_with,
            project_dir=str(self.folder / "logs"),
            # The trainers divide themselves; what a launcher asks for would divide their gradients again.
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        )
        _check_processes(self.accelerator.num_processes)
        torch.backends.cuda.matmul.allow_tf32 = config.allow_tf32

    @property
    def weight_dtype(self) -> torch.dtype:
        """What frozen weights are kept in."""
        return WEIGHT_DTYPES[self.accelerator.mixed_precision]

    def resume_checkpoint(self) -> Path | None:
        """The checkpoint to go on from, or None for a fresh run.

        Raises:
            FergiRewardError: `resume_from` holds no checkpoint; or the run would write over another.
        """
        if self.config.resume_from is None:
            if found := _newest(self.checkpoints):
                raise FergiRewardError(
                    f"{self.folder} already holds a run: resume it with --resume_from {found}, "
                    "or choose another output_dir"
                )
            return None
        given = Path(self.config.resume_from)
        checkpoint = given if (given / STATE_FILE).is_file() else _newest(given / "checkpoints") or _newest(given)
        if checkpoint is None:
            raise FergiRewardError(f"resume_from: {given} holds no checkpoint: give a run's folder or a checkpoint's")
        return checkpoint

    def start_trackers(self, finished_epochs: int, trained_on: Mapping[str, str]) -> None:
        """Open the tracker; what it had beyond `finished_epochs`, from a run that was killed, is dropped.

        Args:
            finished_epochs: Of the run that is resumed.
            trained_on: What is logged beside the options: model, reward, prompts.
        """
        options = {name: value for name, value in asdict(self.config).items() if value is not None}
        # SummaryWriter hides every step from purge_step on, so that a resumed curve has no second branch.
        kwargs = {"tensorboard": {"purge_step": finished_epochs + 1}}
        self.accelerator.init_trackers(self.config.tracker_project_name, {**options, **trained_on}, kwargs)

    def log(self, epoch: int, metrics: dict[str, float]) -> None:
        """Add the metrics of the `epoch`-th epoch, counted from 1, to the tracker and to `metrics.jsonl`.

        The file is written anew each time without this or later epochs: a resumed run leaves none twice.
        """
        self.accelerator.log(metrics, step=epoch)
        if self.accelerator.is_main_process:
            lines = self.metrics_file.read_text(encoding="utf-8").splitlines() if self.metrics_file.exists() else []
            kept = [line for line in lines if json.loads(line)["epoch"] < epoch]
            line = json.dumps({"epoch": epoch, **metrics})
            write_text(self.metrics_file, "\n".join([*kept, line]) + "\n")

    def log_picture(self, name: str, path: Path, epoch: int) -> None:
        """Add a picture to the tracker, after so many finished epochs."""
        for tracker in self.accelerator.trackers:
            layout = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
            tracker.log_images({name: np.asarray(Image.open(path).convert("RGB"))[None]}, step=epoch, **layout)

    def save_checkpoint(self, epoch: int, state: dict[str, Any], save_weights: Callable[[Path], None]) -> None:
        """Write `checkpoints/epoch_NNNN`, whole or not at all, and delete the oldest beyond the limit.

        Args:
            epoch: Finished epochs.
            state: What the trainer needs besides its weights: tensors, numbers, text, and lists and dicts of them.
            save_weights: Writes what is trained into the folder it is given.
        """
        if self.accelerator.is_main_process:
            with folder_written_whole(self.checkpoints / f"epoch_{epoch:04d}") as folder:
                save_weights(folder)
                torch.save({"epoch": epoch, "config": asdict(self.config), **state}, folder / STATE_FILE)
            for old in _checkpoints(self.checkpoints)[: -self.config.num_checkpoint_limit]:
                shutil.rmtree(old)

    def load_state(self, checkpoint: Path) -> dict[str, Any]:
        """The state that `save_checkpoint` was given, and `epoch`, the epochs finished then.

        Says which options are not those of the checkpoint.

        Raises:
            FergiRewardError: The file is damaged, or something else was trained.
        """
        try:
            state = torch.load(checkpoint / STATE_FILE, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
            raise FergiRewardError(f"{checkpoint / STATE_FILE} is damaged ({error}): resume an older one") from error
        options = asdict(self.config)
        changed = [
            f"{name} {before!r} -> {options[name]!r}"
            for name, before in state["config"].items()
            if name not in HOUSEKEEPING and options[name] != before
        ]
        if any(change.startswith(("lora_", "full_finetuning")) for change in changed):
            raise FergiRewardError(f"cannot resume {checkpoint} with another adapter: {', '.join(changed)}")
        if changed:
            self.accelerator.print(f"resuming with changed options: {', '.join(changed)}")
        return state

    @contextmanager
    def interruptible(self, save: Callable[[], None]) -> Iterator[None]:
        """When Ctrl-C ends the block, save what there is and say in one line how to go on."""
        try:
            yield
        except KeyboardInterrupt:
            save()
            newest = _newest(self.checkpoints)
            resume = f"resume with --resume_from {newest}" if newest else "there is no checkpoint yet: start again"
            self.accelerator.print(f"\ninterrupted; {resume}")
            raise


def _check_processes(seen: int) -> None:
    """Refuse processes that do not know of each other: all would write the same run."""
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != seen:
        raise FergiRewardError(
            f"{started} processes were started, but accelerate sees {seen}: on CPUs, export ACCELERATE_USE_CPU=1 first"
        )


def _checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    return sorted(path.parent for path in folder.glob(f"epoch_*/{STATE_FILE}"))


def _newest(folder: Path) -> Path | None:
    found = _checkpoints(folder)
    return found[-1] if found else None
