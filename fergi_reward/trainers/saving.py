"""What a run writes and resumes from: checkpoints, the weights that judges liked best, and the finished ones."""

import json
from collections.abc import Mapping, Set
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from fergi_reward.callables.rewards import Reward
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.places import record_without_folders
from fergi_reward.files.atomic import atomic_folder
from fergi_reward.files.digests import tensors_digest
from fergi_reward.files.prompts import Prompts, write_prompts
from fergi_reward.trainers.checkpoints import LAYOUT, STATE_FILE
from fergi_reward.trainers.history import History
from fergi_reward.trainers.identity import Identity, as_record, described, identity_of
from fergi_reward.trainers.judging import Judging
from fergi_reward.trainers.model import TrainedModel
from fergi_reward.trainers.model_card import write_model_card
from fergi_reward.trainers.optimisation import Optimisation
from fergi_reward.trainers.pairs import PairTable
from fergi_reward.trainers.run import Run
from fergi_reward.trainers.sharding import Whole, collected, is_shard
from fergi_reward.trainers.weights import copied, overwrite

# What a checkpoint holds besides the parts of an algorithm.
OWN_PARTS = {"format", *LAYOUT, "processes", "optimizer", "scaler", "ema", "watch", "best", "drawn_by", "trained"}


class Stateful(Protocol):
    """A part of an algorithm that a checkpoint holds."""

    def state_dict(self) -> Any:  # noqa: ANN401
        """Tensors, numbers, text, and lists and dicts of them."""

    def load_state_dict(self, state: Any, changed: Set[str]) -> None:  # noqa: ANN401
        """Go back to what `state_dict` returned.

        Args:
            state: What the checkpoint holds.
            changed: Parts of the run's identity that are not what they were: what belongs to them is not taken.
        """


@dataclass(eq=False)
class Saving:
    """The state of a run, in memory and on disk.

    Attributes:
        trainer: Its name, by which a checkpoint is known.
        run: The run's folder and its checkpoints.
        model: What is trained.
        optimisation: The optimiser.
        judging: The judges.
        prompts: Those of the run.
        reward: What is followed, if a reward is.
        pairs: What is learned from, if pairs are.
        checkpoint: What is resumed, if anything is.
    """

    trainer: str
    run: Run
    model: TrainedModel
    optimisation: Optimisation
    judging: Judging
    prompts: Prompts
    reward: Reward | None
    pairs: PairTable | None
    checkpoint: Path | None
    _parts: Mapping[str, Stateful] = field(default_factory=dict, init=False)
    _last_epoch: tuple[int, list[Tensor], dict[str, Any], int] | None = field(default=None, init=False)

    def add(self, parts: Mapping[str, Stateful]) -> None:
        """Let checkpoints hold parts of the algorithm too.

        Raises:
            FergiRewardError: A name is that of a part of the loop's own.
        """
        if taken := sorted(OWN_PARTS & set(parts)):
            raise FergiRewardError(
                f"a part of a checkpoint cannot be called {', '.join(taken)}: the loop has parts of these names"
            )
        self._parts = parts

    @cached_property
    def identity(self) -> Identity:
        """All that the run depends on, by content; a resumed run must find the same."""
        return identity_of(
            model=self.model.identity,
            prompts=self.prompts,
            judges=self.judging.judges,
            reward=self.reward,
            pairs=self.pairs,
        )

    @cached_property
    def history(self) -> History:
        """What the weights have learned from."""
        return History(self.identity, self.pairs or self.reward)

    def resume(self) -> int:
        """Go back to where the checkpoint was written, if there is one; returns how many epochs were finished."""
        identity = self.identity  # read before the first epoch: what cannot be read ends the run here
        if self.checkpoint is None:
            return 0
        state, changed = self.run.checkpoints.load(self.checkpoint, self.trainer, identity, self.run.say)
        self.model.weights.load(self.checkpoint)
        try:
            self._load_state_dict(state, changed)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            if isinstance(error, FergiRewardError):
                raise
            reason = " ".join(f"{type(error).__name__} {error}".split())[:200]
            raise FergiRewardError(
                f"the state in {self.checkpoint} is damaged ({reason}): resume an older one"
            ) from error
        if self._weights_digest() != state["weights"]:
            raise FergiRewardError(
                f"the weights in {self.checkpoint} are not those that its {STATE_FILE} belongs to: resume another"
            )
        if self.run.accelerator.is_main_process:
            self.run.checkpoints.abandon_after(state["epoch"], self.run.say)
        return int(state["epoch"])

    def remember(self, finished: int, saves: bool) -> None:
        """Keep the end of an epoch, to which an interrupted run goes back, and write a checkpoint if it `saves`."""
        few = self.model.weights.are_few
        state = deepcopy(self._state_dict()) if few else self._state_dict()
        values = copied(self.model.parameters) if few else []
        if not is_shard(self.model.parameters[0]):
            self._last_epoch = (finished, values, state, self.optimisation.updates)
        if saves:
            self._save_checkpoint(finished, state)

    def save_last_epoch(self) -> bool:
        """Write a checkpoint of the end of the last whole epoch: what an interrupted one did cannot be resumed.

        No process waits for another here, since some may have ended already: shards of a network cannot be gathered,
        and its last checkpoint is what is left. Of a whole network there is no copy: it can be written until the first
        update of the next epoch.

        Returns:
            Whether it could be written.
        """
        if self._last_epoch is None:
            return False
        finished, values, state, updates = self._last_epoch
        if values:
            overwrite(self.model.parameters, values)
        elif updates != self.optimisation.updates:
            return False
        self._save_checkpoint(finished, state)
        return True

    def save_best(self) -> None:
        """Write the weights that the judges liked most into `best/`."""
        with self.judging.best_swapped_in():
            self.save_weights(self.run.folder / "best", self.judging.watch.best_epoch or 0)

    def save_weights(self, path: Path, finished: int) -> None:
        """Write the weights after so many epochs in the form that users load, with their README.md and prompts."""
        writes = self.run.accelerator.is_main_process
        write = self.model.weights.writer(writes)
        if writes:
            with atomic_folder(path) as folder:
                write(folder)
                write_prompts(folder / "prompts.txt", self.prompts)
                seen = self.history.until(finished)
                write_model_card(folder, self.trainer, self.run.config, seen, self.model.pipeline)
        self.run.accelerator.wait_for_everyone()

    def trained_on(self) -> dict[str, str]:
        """What a tracker logs alongside the options: what the run depends on, each part with its digest."""
        parts = {name: f"{part.name}, SHA-256 {part.digest}" for name, part in self.identity.items()}
        learned_from = record_without_folders(described(self.pairs or self.reward))
        return {"trainer": self.trainer, "learned_from": json.dumps(learned_from), **parts}

    def _state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds besides the weights."""
        own = {**self.optimisation.state_dict(), **self.judging.state_dict()}
        parts = {name: part.state_dict() for name, part in self._parts.items()}
        return {**own, "trained": self.model.weights.rounded_by_saving(), **parts}

    def _load_state_dict(self, state: dict[str, Any], changed: Set[str]) -> None:
        """Go back to what `_state_dict` returned; the weights were loaded before."""
        self.history.before = state["seen"]
        if state["trained"]:
            overwrite(self.model.parameters, state["trained"])
        self.optimisation.load_state_dict(state)
        if self.judging.load_state_dict(state, changed):
            self.run.say("what the judges remembered is dropped: it was of other pictures, or of other judges")
        if self.judging.best:
            self.save_best()
        for name, part in self._parts.items():
            part.load_state_dict(state[name], changed)

    def _save_checkpoint(self, finished: int, state: dict[str, Any]) -> None:
        writes = self.run.accelerator.is_main_process
        whole, write = collected(state, writes), self.model.weights.writer(writes)
        digest = self._weights_digest() if writes or is_shard(self.model.parameters[0]) else ""
        if writes:
            known = {
                "trainer": self.trainer,
                "identity": as_record(self.identity),
                "seen": self.history.until(finished),
                "weights": digest,
                "processes": self.run.accelerator.num_processes,
            }
            self.run.checkpoints.save(finished, {**known, **whole}, write)

    def _weights_digest(self) -> str:
        """By which a checkpoint's weights are known to be those that the rest of its state belongs to."""
        return tensors_digest(Whole(self.model.parameters))
