"""What every trainer calls to run: epochs, optimiser steps, checkpoints, resuming, judges, grids and interruptions.

A trainer makes a `Loop` and gives `run_epochs` a function that trains for one epoch. It inherits nothing.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor

from fergi_reward.callables.rewards import Reward
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.interrupts import deferred, raised
from fergi_reward.core.progress import Progress
from fergi_reward.diffusion.family import Pipeline
from fergi_reward.files.atomic import atomic_folder
from fergi_reward.files.digests import record_digest, tensors_digest
from fergi_reward.trainers.checkpoints import LAYOUT, STATE_FILE
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.fixed_pictures import FixedPictures
from fergi_reward.trainers.grids import Grids
from fergi_reward.trainers.guards import check_held_out
from fergi_reward.trainers.history import History
from fergi_reward.trainers.identity import Identity, as_record, described, identity_of
from fergi_reward.trainers.judging import Judging
from fergi_reward.trainers.model import TrainedModel
from fergi_reward.trainers.model_card import write_model_card
from fergi_reward.trainers.optimisation import Optimisation
from fergi_reward.trainers.pairs import PairTable
from fergi_reward.trainers.processes import mean_of, means
from fergi_reward.trainers.run import Run
from fergi_reward.trainers.weights import copied, overwrite

# What a checkpoint holds besides the parts of an algorithm.
OWN_PARTS = {"format", *LAYOUT, "optimizer", "scaler", "ema", "watch", "best", "trained"}
Config = TypeVar("Config", bound=TrainerConfig, covariant=True)
Metrics = dict[str, float]


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


class Loop(Generic[Config]):
    """The run of a trainer. What happens to the pipeline: see `TrainedModel`.

    Args:
        trainer: Its name, by which a checkpoint is known.
        config: The options.
        pipeline: What is trained.
        prompts: What grids and judges see, and what an online trainer samples from.
        judges: By name, rewards that are not trained on but only asked now and then; see `guards`.
        reward: What is followed, if a reward is.
        pairs: What is learned from, if pairs are.

    Attributes:
        run: The run's folder, its log and its checkpoints.
        accelerator: accelerate's view of devices, processes and precision.
        model: What is trained.
        optimisation: The optimiser.
        judging: The judges.
        finished: Epochs.

    Raises:
        FergiRewardError: No prompts, a pipeline that cannot be trained, a checkpoint that does not fit, a judge that is
            trained on, or none to stop the run.
    """

    def __init__(
        self,
        trainer: str,
        config: Config,
        pipeline: Pipeline,
        prompts: Sequence[str],
        judges: Mapping[str, Reward] | None = None,
        *,
        reward: Reward | None = None,
        pairs: PairTable | None = None,
    ) -> None:
        if not prompts:
            raise FergiRewardError("there are no prompts: give at least one")
        judges = dict(judges or {})
        check_held_out(judges, reward)
        if config.stop_when_judge_falls and not judges:
            raise FergiRewardError("stop_when_judge_falls needs a judge: name one that the reward does not weigh")
        self.trainer, self.config, self.prompts = trainer, config, list(prompts)
        self._reward, self._pairs = reward, pairs
        self.run = Run(config)
        self._checkpoint = self.run.checkpoints.to_resume()
        self.accelerator = self.run.accelerator
        self.model = TrainedModel(pipeline, config, self.accelerator, self.run.weight_dtype)
        self.optimisation = Optimisation(self.accelerator, self.model.parameters, config)
        pictures = FixedPictures(self.model, self.accelerator)
        self.judging = Judging(judges, reward, config, self.model, pictures)
        shown = self.prompts[: config.grid_num_images]
        folder, writes = self.run.folder / "grids", self.accelerator.is_main_process
        self._grids = Grids(folder, shown, lambda: pictures.all("grid", shown), writes)
        self.finished = 0
        self._state: Mapping[str, Stateful] = {}
        self._last_epoch: tuple[int, list[Tensor], dict[str, Any], int] | None = None

    def run_epochs(
        self,
        epoch: Callable[[int], Metrics],
        summary: Callable[[Mapping[str, float]], str],
        state: Mapping[str, Stateful] | None = None,
    ) -> Path:
        """Run all epochs that are left, or until the judges have fallen.

        Args:
            epoch: Trains for one epoch, counted from 0; returns its metrics.
            summary: The metrics that an epoch's line in the terminal shows.
            state: By name, what the algorithm adds to a checkpoint.

        Returns:
            The folder of the finished weights; its README.md says how to load them.

        Raises:
            FergiRewardError: A name in `state` is that of a part of the loop's own.
        """
        self._state = state or {}
        if taken := sorted(OWN_PARTS & set(self._state)):
            raise FergiRewardError(
                f"a part of a checkpoint cannot be called {', '.join(taken)}: the loop has parts of these names"
            )
        with raised(), self.run.owned(), self.run.interruptible(self._save_last_epoch):
            self._resume()
            self.run.start_trackers(self.finished, self._trained_on())
            if self.finished == 0:
                self._draw_grid()
                if self.judging.judges:
                    self.run.log(0, self._judge())
            while self.finished < self.config.num_epochs and not self.judging.must_stop:
                self._one_epoch(epoch, summary)
            return self._finish()

    def update(self, losses: Iterable[tuple[Tensor, Mapping[str, Tensor]]], count: int) -> dict[str, Tensor]:
        """One optimiser step on the mean of some losses, each computed when the one before has gone backward.

        Args:
            losses: Each a scalar with gradient, and figures to log.
            count: Number of losses.

        Returns:
            The means of the losses and figures, and the length of the gradient.
        """
        figures = list[dict[str, Tensor]]()
        for loss, of_batch in losses:
            self.accelerator.backward(loss / count)
            figures.append({"loss": loss.detach(), **of_batch})
        return mean_of(figures) | {"grad_norm": self.optimisation.step()}

    def means(self, updates: Sequence[Mapping[str, Tensor]]) -> Metrics:
        """The mean of the updates' figures, over all processes."""
        return means(self.accelerator, updates)

    def progress(self, phase: str, total: int, unit: str) -> Progress:
        """A bar, on the main process only."""
        return Progress(total=total, desc=phase, unit=unit, leave=False, disable=not self.accelerator.is_main_process)

    @cached_property
    def identity(self) -> Identity:
        """All that the run depends on, by content; a resumed run must find the same."""
        return identity_of(
            model=self.model.identity,
            prompts=self.prompts,
            judges=self.judging.judges,
            reward=self._reward,
            pairs=self._pairs,
        )

    @cached_property
    def history(self) -> History:
        """What the weights have learned from."""
        return History(self.identity, self._pairs or self._reward)

    def _one_epoch(self, epoch: Callable[[int], Metrics], summary: Callable[[Mapping[str, float]], str]) -> None:
        started = time.perf_counter()
        metrics = epoch(self.finished)
        metrics["seconds"] = time.perf_counter() - started
        self.finished += 1
        if self.judging.are_due(self.finished):
            with self.optimisation.averaged():
                metrics |= self._judge()
        last = self.finished == self.config.num_epochs or self.judging.must_stop
        # Before the checkpoint, after which a resumed run would not draw it any more.
        if last or (self.config.grid_freq and self.finished % self.config.grid_freq == 0):
            with self.optimisation.averaged():
                self._draw_grid()
        saves = last or self.finished % self.config.save_freq == 0
        with deferred():  # an epoch that was reported must not be lost
            self.run.log(self.finished, metrics)
            line = f"{summary(metrics)}, {metrics['seconds']:.1f} s"
            self.run.say(f"epoch {self.finished}/{self.config.num_epochs}: {line}")
            few = self.model.weights.are_few
            state = deepcopy(self._state_dict()) if few else self._state_dict()
            values = copied(self.model.parameters) if few else []
            self._last_epoch = (self.finished, values, state, self.optimisation.updates)
            if saves:
                self._save_checkpoint(self.finished, state)
        if saves:
            self.accelerator.wait_for_everyone()

    def _state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds besides the weights."""
        own = {**self.optimisation.state_dict(), **self.judging.state_dict()}
        parts = {name: part.state_dict() for name, part in self._state.items()}
        return {**own, "trained": self.model.weights.rounded_by_saving(), **parts}

    def _load_state_dict(self, state: dict[str, Any], changed: Set[str]) -> None:
        """Go back to what `_state_dict` returned; the weights were loaded before."""
        self.history.before = state["seen"]
        if state["trained"]:
            overwrite(self.model.parameters, state["trained"])
        self.optimisation.load_state_dict(state)
        self.judging.load_state_dict(state, changed)
        if self.judging.best:
            self._save_best()
        for name, part in self._state.items():
            part.load_state_dict(state[name], changed)

    def _save_last_epoch(self) -> None:
        """Write a checkpoint of the end of the last whole epoch: what an interrupted one did cannot be resumed.

        No process waits for another here, since some may have ended already. Of a whole network there is no copy: it
        can be written until the first update of the next epoch.
        """
        if self._last_epoch:
            finished, values, state, updates = self._last_epoch
            if values:
                overwrite(self.model.parameters, values)
            elif updates != self.optimisation.updates:
                return
            self._save_checkpoint(finished, state)

    def _save_checkpoint(self, finished: int, state: dict[str, Any]) -> None:
        if self.accelerator.is_main_process:
            known = {
                "trainer": self.trainer,
                "identity": as_record(self.identity),
                "seen": self.history.until(finished),
                "weights": self._weights_digest(),
            }
            self.run.checkpoints.save(finished, {**known, **state}, self.model.weights.save)

    def _weights_digest(self) -> str:
        """By which a checkpoint's weights are known to be those that the rest of its state belongs to."""
        return tensors_digest({str(number): value for number, value in enumerate(self.model.parameters)})

    def _resume(self) -> None:
        """Go back to where the checkpoint was written, if there is one."""
        identity = self.identity  # read before the first epoch: what cannot be read ends the run here
        if self._checkpoint is None:
            return
        state, changed = self.run.checkpoints.load(self._checkpoint, self.trainer, identity, self.run.say)
        self.model.weights.load(self._checkpoint)
        try:
            self._load_state_dict(state, changed)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            if isinstance(error, FergiRewardError):
                raise
            reason = " ".join(f"{type(error).__name__} {error}".split())[:200]
            raise FergiRewardError(
                f"the state in {self._checkpoint} is damaged ({reason}): resume an older one"
            ) from error
        if self._weights_digest() != state["weights"]:
            raise FergiRewardError(
                f"the weights in {self._checkpoint} are not those that its {STATE_FILE} belongs to: resume another"
            )
        if self.accelerator.is_main_process:
            self.run.checkpoints.abandon_after(state["epoch"], self.run.say)
        self.finished = state["epoch"]

    def _judge(self) -> Metrics:
        metrics, is_best = self.judging.ask(self.finished, self.prompts)
        if is_best:
            self._save_best()
        return metrics

    def _save_best(self) -> None:
        with self.judging.best_swapped_in():
            self._save_weights(self.run.folder / "best", self.judging.watch.best_epoch or 0)

    def _save_weights(self, path: Path, finished: int) -> None:
        if self.accelerator.is_main_process:
            with atomic_folder(path) as folder:
                self.model.weights.save(folder)
                seen = self.history.until(finished)
                write_model_card(folder, self.trainer, self.config, seen, self.model.pipeline)
        self.accelerator.wait_for_everyone()

    def _draw_grid(self) -> None:
        if path := self._grids.write(self.finished):
            self.run.log_picture("grid", path, self.finished)
        self.accelerator.wait_for_everyone()

    def _finish(self) -> Path:
        """Save the weights in the form that users load, draw before and after; returns their folder."""
        if self.judging.must_stop:
            self.judging.go_back_to_best()
        elif self.optimisation.ema:
            overwrite(self.model.parameters, self.optimisation.ema.averages)
        self._say_what_the_judges_liked()
        folder = self.run.folder / self.model.weights.name
        self._save_weights(folder, self.finished)
        self._grids.write_before_after(self.model.weights.reference())
        self.accelerator.wait_for_everyone()
        self.accelerator.end_training()
        return folder

    def _say_what_the_judges_liked(self) -> None:
        best = self.judging.watch.best_epoch
        if self.judging.must_stop:
            self.run.say(f"stopped: the judges have fallen since epoch {best}, whose weights are kept")
        elif best is not None and best < self.config.num_epochs:
            self.run.say(f"the judges liked epoch {best} best: its weights are in {self.run.folder / 'best'}")

    def _trained_on(self) -> dict[str, str]:
        """What a tracker logs alongside the options."""
        return {
            "model": self.model.pipeline.config.get("_name_or_path") or "built in memory",
            "learned_from": json.dumps(described(self._pairs or self._reward)),
            "prompts": f"{len(self.prompts)} of SHA-256 {record_digest(self.prompts)}",
            "judges": ", ".join(self.judging.judges),
        }
