"""A training run on disk: accelerator, trackers, metrics, and checkpoints that a killed run resumes from.

A run's folder holds `lora/` (the finished adapter; `unet/` or `transformer/` after full fine-tuning), `best/` (the one
that held-out judges liked most, if there are judges), `checkpoints/epoch_NNNN/`, `grids/`, `logs/` and `metrics.jsonl`.
Names count finished epochs. `abandoned/` holds checkpoints that a run left behind when it went back to an older one.
"""

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from fergi_reward.core import interrupts
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.terminal import for_terminal
from fergi_reward.files.atomic import sweep, write_text
from fergi_reward.files.json_files import parse_json
from fergi_reward.files.locks import owned
from fergi_reward.trainers.checkpoints import Checkpoints
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.preflight import check_can_start
from fergi_reward.trainers.tracking import Tracking

WEIGHT_DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class Run:
    """The accelerator of a run, and everything that the run writes.

    Attributes:
        accelerator: accelerate's view of devices, processes and precision.
        folder: The run's folder.
        checkpoints: What it resumes from.
        tracking: The tracker.
    """

    def __init__(self, config: TrainerConfig) -> None:
        from accelerate import Accelerator
        from accelerate.utils import GradientAccumulationPlugin

        check_can_start(config)
        self.config = config
        self.folder = Path(config.output_dir)
        self.checkpoints = Checkpoints(config)
        self.metrics_file = self.folder / "metrics.jsonl"
        check_output(config)
        self.accelerator = Accelerator(
            mixed_precision=config.mixed_precision,
            log_with=None if config.log_with == "none" else config.log_with,
            project_dir=str(self.folder / "logs"),
            # The trainers divide themselves; what a launcher asks for would divide their gradients again.
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        )
        self.tracking = Tracking(self.accelerator, config)
        _check_processes(self.accelerator.num_processes)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = config.uses_tf32

    @property
    def weight_dtype(self) -> torch.dtype:
        """What frozen weights are kept in."""
        return WEIGHT_DTYPES[self.accelerator.mixed_precision]

    def say(self, text: str) -> None:
        """Print on the main process; no name in the text reaches the terminal as a command."""
        self.accelerator.print(for_terminal(text))

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
            for folder in (self.checkpoints.folder, self.folder / "grids"):
                sweep(folder)
            yield

    def start_trackers(self, finished_epochs: int, learned_from: Mapping[str, str]) -> None:
        """Open the tracker; what it had beyond `finished_epochs`, from a run that was killed, is dropped.

        Args:
            finished_epochs: Number of epochs of the run that is resumed.
            learned_from: What is logged in addition to the options: model, reward, prompts.
        """
        self.tracking.start(finished_epochs, list(map(parse_json, self._lines(finished_epochs))), learned_from)

    def log(self, epoch: int, metrics: dict[str, float]) -> None:
        """Add the metrics of the `epoch`-th epoch, counted from 1, to the tracker and to `metrics.jsonl`.

        The file is written again each time without this or later epochs: a resumed run leaves none twice.
        """
        try:
            self.tracking.log(epoch, metrics)
        except OSError as error:
            raise FergiRewardError(f"cannot write to the tracker ({error.strerror or error}): make room") from error
        if self.accelerator.is_main_process:
            finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
            line = json.dumps({"epoch": epoch, **finite}, allow_nan=False)
            write_text(self.metrics_file, "\n".join([*self._lines(epoch - 1), line]) + "\n")

    def _lines(self, last: int) -> list[str]:
        """The lines of metrics up to the end of an epoch."""
        text = self.metrics_file.read_text(encoding="utf-8", errors="replace") if self.metrics_file.exists() else ""
        return [line for line in text.splitlines() if _logged_epoch(line) <= last]

    @contextmanager
    def interruptible(self, save: Callable[[], bool]) -> Iterator[None]:
        """When a signal, an error or the end of another process ends the block, save what there is, say how to resume.

        Args:
            save: Writes a checkpoint of the last whole epoch; returns whether there was one to write.
        """
        try:
            yield
        except KeyboardInterrupt as interrupted:
            resume = self._save(save)
            # One process says it: others may look before the checkpoint is written.
            is_main = self.accelerator.is_main_process
            interrupted.add_note(resume if is_main else "the main process says how to resume")
            raise
        except Exception as error:
            if not _lost_another(error):
                self._save_after(error, save)
                raise
            reason = "another process of this run ended"
            self.say(f"\n{reason}; {self._save(save)}")
            raise FergiRewardError(f"{reason}, so this one does ({' '.join(str(error).split())[:200]})") from error

    def _save_after(self, error: Exception, save: Callable[[], bool]) -> None:
        """Keep the epochs before an error: hours may lie behind one answer of a reward that is none."""
        with interrupts.deferred(), suppress(OSError, FergiRewardError):  # a full disk may be what went wrong
            if save() and self.accelerator.is_main_process:
                error.add_note(f"resume with --resume-from {self.checkpoints.newest()}")

    def _save(self, save: Callable[[], bool]) -> str:
        """Save what there is; returns how to resume."""
        with interrupts.deferred():
            save()
            self.tracking.close()
            newest = self.checkpoints.newest() or self.config.resume_from
        return f"resume with --resume-from {newest}" if newest else "there is no checkpoint yet, start again"


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


def _lost_another(error: Exception) -> bool:
    """Whether an exchange between processes broke off, as gloo and NCCL tell it."""
    named = isinstance(error, RuntimeError) and ("gloo" in str(error) or "NCCL" in str(error))
    return named or isinstance(error, torch.distributed.DistError)


def _logged_epoch(line: str) -> float:
    """The epoch of a line of metrics; a line that a power cut tore belongs to no epoch that is kept."""
    try:
        return float(parse_json(line)["epoch"])
    except (ValueError, KeyError, TypeError):
        return math.inf
