"""The tracker of a run, TensorBoard or wandb: what it is given, and one curve however often the run is resumed.

TensorBoard hides what a killed run logged beyond the epoch that is resumed. A run of wandb cannot be shortened: one
that was closed at that epoch or before it is continued; else a new one begins, with all epochs that are kept.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from fergi_reward.core.command_line import command_line
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.machine import machine, versions
from fergi_reward.core.option_types import as_text
from fergi_reward.core.places import record_without_folders, without_folders
from fergi_reward.files.atomic import write_json
from fergi_reward.files.json_files import read_json
from fergi_reward.trainers.config import TrainerConfig

if TYPE_CHECKING:
    from accelerate import Accelerator

# In the folder of the logs: which run of wandb was closed, and after how many epochs.
CLOSED = "wandb_run.json"
GRID = "grid"


class Tracking:
    """What a run logs, besides the file of its metrics.

    Args:
        accelerator: Made with the tracker's name; its trackers write on the main process alone.
        config: The run's options.
    """

    def __init__(self, accelerator: "Accelerator", config: TrainerConfig) -> None:
        self._accelerator, self._config = accelerator, config
        self._folder = Path(config.output_dir)
        self._closed = self._folder / "logs" / CLOSED
        self._wandb_run = ""
        self._epochs = 0

    def start(self, finished: int, kept: Sequence[Mapping[str, float]], learned_from: Mapping[str, str]) -> None:
        """Open the tracker.

        Args:
            finished: Epochs of the run that is resumed; what the tracker had beyond them is dropped.
            kept: The metrics of these epochs, with the number of each as `epoch`.
            learned_from: What the run depends on, in words.

        Raises:
            FergiRewardError: wandb cannot be reached, or has no key.
        """
        provenance = self.provenance(learned_from)
        if self._config.log_with != "wandb":
            # SummaryWriter hides every step from purge_step on, so that a resumed curve has no second branch.
            self._init(provenance, {"tensorboard": {"purge_step": finished + 1}})
            return
        self._wandb_run, known = self._open_run(finished)
        options = {"id": self._wandb_run, "name": self._folder.name, "resume": "allow"}
        self._init(provenance, {"wandb": {**options, "dir": str(self._closed.parent)}})
        if self._accelerator.is_main_process:
            self._closed.unlink(missing_ok=True)
        self._log_again(range(known + 1, finished + 1), kept)

    def provenance(self, learned_from: Mapping[str, str]) -> dict[str, Any]:
        """The options, what is learned from, command, versions and machine; of paths the last part."""
        options = {name: value for name, value in asdict(self._config).items() if value is not None}
        options |= {name: as_text(value) for name, value in options.items() if isinstance(value, list | tuple)}
        stated = {"command": without_folders(command_line()), **versions(), **machine()}
        return {**record_without_folders({**options, **learned_from}), **stated}

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add the metrics of an epoch."""
        self._epochs = max(self._epochs, epoch)
        self._accelerator.log(dict(metrics), step=epoch)

    def picture(self, name: str, path: Path, epoch: int) -> None:
        """Add a picture after so many finished epochs."""
        self._epochs = max(self._epochs, epoch)
        for tracker in self._accelerator.trackers:
            layout = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
            tracker.log_images({name: np.asarray(Image.open(path).convert("RGB"))[None]}, step=epoch, **layout)

    def close(self) -> None:
        """Write out what the tracker still holds; a closed run of wandb can be continued."""
        for tracker in self._accelerator.trackers:
            tracker.finish()
        if self._wandb_run and self._accelerator.is_main_process:
            write_json(self._closed, {"id": self._wandb_run, "epochs": self._epochs})

    def _open_run(self, finished: int) -> tuple[str, int]:
        """The id of wandb's run, and up to which epoch it has them; -1 for none."""
        try:
            closed = read_json(self._closed)
            run, epochs = str(closed["id"]), int(closed["epochs"])
        except (OSError, ValueError, KeyError, TypeError):  # no run before, or one that was killed
            return secrets.token_hex(8), -1
        self._epochs = epochs
        return (run, epochs) if epochs <= finished else (secrets.token_hex(8), -1)

    def _init(self, provenance: dict[str, Any], options: dict[str, Any]) -> None:
        try:
            self._accelerator.init_trackers(self._config.tracker_project_name, provenance, options)
        except Exception as error:
            if type(error).__module__.split(".")[0] != "wandb":
                raise
            reason = " ".join(str(error).split())[:200]
            raise FergiRewardError(f"wandb cannot begin a run ({reason}): set WANDB_MODE=offline") from error

    def _log_again(self, epochs: range, kept: Sequence[Mapping[str, float]]) -> None:
        """Give a run what it lacks of the epochs that are kept."""
        metrics = {int(line["epoch"]): line for line in kept}
        for epoch in epochs:
            if (path := self._folder / "grids" / f"epoch_{epoch:04d}.png").exists():
                self.picture(GRID, path, epoch)
            if line := metrics.get(epoch):
                self.log(epoch, {name: value for name, value in line.items() if name != "epoch" and value is not None})
