"""The checkpoints of a run: written whole or not at all, and resumed only by the run that they belong to."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from fergi_reward.core import interrupts
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.atomic import atomic_folder
from fergi_reward.files.tensor_files import read_state
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.identity import Identity, changes, check_changes

STATE_FILE = "trainer_state.pt"
# Version of the state's layout; 2 holds what was trained on.
FORMAT = 2
LAYOUT = {"epoch": int, "trainer": str, "config": dict, "identity": dict, "seen": list, "weights": str}
# Options that make it another run whatever is allowed: weights, or what is remembered, learned or measured, would be
# of something else.
FIXED = {
    *("resolution", "max_sequence_length", "lora_rank", "lora_alpha", "lora_target_modules", "full_finetuning"),
    "frozen_weights",
    *("train_optimizer", "train_unconditional", "advantage_std", "train_kl_form", "sde_type", "nft_weighting"),
    *("nft_old_rate", "nft_old_delay", "sample_solver"),
}
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
    *("shard", "num_processes"),
    *("stop_when_judge_falls", "judge_freq", "judge_patience", "judge_tolerance"),
}


class Checkpoints:
    """The folders `epoch_NNNN` of a run, named by the number of finished epochs. One process writes them.

    Args:
        config: The options of the run.

    Attributes:
        folder: Holds them.
    """

    def __init__(self, config: TrainerConfig) -> None:
        self.config, self.folder = config, Path(config.output_dir) / "checkpoints"

    def newest(self) -> Path | None:
        """The one with the most epochs."""
        return _newest(self.folder)

    def to_resume(self) -> Path | None:
        """The checkpoint to resume from, or None for a fresh run.

        Raises:
            FergiRewardError: `resume_from` holds no checkpoint; or the run would write over another.
        """
        found, run = self.newest(), self.folder.parent
        if self.config.resume_from is None:
            if found:
                raise FergiRewardError(
                    f"{run} already holds a run: resume it with --resume-from {found}, or choose another output_dir"
                )
            return None
        given = Path(self.config.resume_from)
        checkpoint = given if (given / STATE_FILE).is_file() else _newest(given / "checkpoints") or _newest(given)
        if checkpoint is None:
            raise FergiRewardError(f"resume_from: {given} holds no checkpoint: give a run's folder or a checkpoint's")
        if found and checkpoint.resolve().parent != self.folder.resolve():
            raise FergiRewardError(
                f"{run} holds another run than {checkpoint}: choose another output_dir for what resumes that"
            )
        return checkpoint

    def save(self, epoch: int, state: dict[str, Any], save_weights: Callable[[Path], None]) -> None:
        """Write one, and delete the oldest beyond the limit. A signal that arrives meanwhile waits.

        Args:
            epoch: Finished epochs.
            state: All of `LAYOUT` except `epoch` and `config`, and what the trainer needs besides its weights: tensors,
                numbers, text, and lists and dicts of them.
            save_weights: Writes what is trained into the folder it is given.
        """
        with interrupts.deferred():
            with atomic_folder(self.folder / f"epoch_{epoch:04d}") as folder:
                save_weights(folder)
                whole = {"format": FORMAT, "epoch": epoch, "config": _as_record(self.config), **state}
                torch.save(whole, folder / STATE_FILE)
            for old in _all_in(self.folder)[: -self.config.num_checkpoint_limit]:
                shutil.rmtree(old)

    def load(
        self, checkpoint: Path, trainer: str, identity: Identity, say: Callable[[str], None]
    ) -> tuple[dict[str, Any], set[str]]:
        """The state that `save` was given, and which parts of the identity are not what they were then.

        Args:
            checkpoint: Its folder.
            trainer: Name of the trainer that resumes.
            identity: What it learns from.
            say: Is given a sentence about options and parts that have changed.

        Raises:
            FergiRewardError: The file is damaged or of another version, something else was trained, or it was trained
                on something else and that is not among the changes allowed, or for more epochs than are asked for.
        """
        state = _read_state(checkpoint / STATE_FILE)
        if state["trainer"] != trainer:
            raise FergiRewardError(
                f"{checkpoint} was written by {state['trainer']}, and this is {trainer}: resume it with the former"
            )
        if state["epoch"] > self.config.num_epochs:
            raise FergiRewardError(
                f"{checkpoint} has {state['epoch']} epochs, but num_epochs is {self.config.num_epochs}: give as many "
                "or more, or resume an older one"
            )
        options = [*self._changed_options(checkpoint, state["config"]), *self._other_processes(state)]
        found = changes(state["identity"], identity)
        check_changes(checkpoint, found, self.config.allowed_changes)
        for what in (", ".join(options), "; ".join(f"{name} {a} -> {b}" for name, (a, b) in found.items())):
            if what:
                say(f"resuming with changes: {what}")
        return state, set(found)

    def abandon_after(self, epoch: int, say: Callable[[str], None]) -> None:
        """Move checkpoints of later epochs aside: a run that goes back to an older one makes its own of these names."""
        if later := [path for path in _all_in(self.folder) if _epoch_of(path) > epoch]:
            aside = self.folder.parent / "abandoned"
            aside.mkdir(exist_ok=True)
            for path in later:
                shutil.rmtree(aside / path.name, ignore_errors=True)
                path.rename(aside / path.name)
            say(f"resuming epoch {epoch}: the {len(later)} later checkpoints are now in {aside}")

    def _changed_options(self, checkpoint: Path, before: dict[str, Any]) -> list[str]:
        """Options that are not what they were and matter, with both values."""
        options = _as_record(self.config)
        # What an older version had no option for was done as the default does it.
        before = {item.name: item.default for item in fields(self.config)} | before
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
        if fixed := [what for name, what in changed.items() if name in FIXED]:
            raise FergiRewardError(f"cannot resume {checkpoint} as another run: {', '.join(fixed)}; give what it was")
        return list(changed.values())

    def _other_processes(self, state: dict[str, Any]) -> list[str]:
        """Other batches per update where options count those of one process; earlier checkpoints do not say it."""
        before, now = state.get("processes", self.config.processes), self.config.processes
        return [f"processes {before} -> {now}"] if before != now else []


def _as_record(config: TrainerConfig) -> dict[str, Any]:
    """The options, with every list as one: a tuple of the same names is no other option."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()}


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


def _all_in(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    return sorted((path.parent for path in folder.glob(f"epoch_*/{STATE_FILE}")), key=_epoch_of)


def _epoch_of(checkpoint: Path) -> int:
    number = checkpoint.name.removeprefix("epoch_")
    return int(number) if number.isdecimal() else -1


def _newest(folder: Path) -> Path | None:
    found = _all_in(folder)
    return found[-1] if found else None
