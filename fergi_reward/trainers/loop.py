"""What every trainer calls to run: epochs, optimiser steps, checkpoints, resuming, judges, grids and interruptions.

A trainer makes a `Loop` and gives `run_epochs` a function that trains for one epoch. It inherits nothing.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from torch import Tensor

from fergi_reward.callables.rewards import Reward
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.interrupts import deferred, raised
from fergi_reward.core.progress import Progress
from fergi_reward.diffusion.family import Pipeline
from fergi_reward.files.prompts import Prompts
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.fixed_pictures import FixedPictures
from fergi_reward.trainers.grids import Grids
from fergi_reward.trainers.held_out import check_held_out
from fergi_reward.trainers.judging import Judging
from fergi_reward.trainers.model import TrainedModel
from fergi_reward.trainers.optimisation import Optimisation
from fergi_reward.trainers.pairs import PairTable
from fergi_reward.trainers.processes import mean_of, means
from fergi_reward.trainers.run import Run
from fergi_reward.trainers.saving import Saving, Stateful
from fergi_reward.trainers.tracking import GRID
from fergi_reward.trainers.weights import overwrite

Config = TypeVar("Config", bound=TrainerConfig, covariant=True)
Metrics = dict[str, float]


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
        saving: Checkpoints and finished weights.
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
        self.config = config
        self.run = Run(config)
        checkpoint = self.run.checkpoints.to_resume()
        self.accelerator = self.run.accelerator
        self.model = TrainedModel(pipeline, config, self.accelerator, self.run.weight_dtype)
        self.optimisation = Optimisation(self.accelerator, self.model.parameters, config)
        pictures = FixedPictures(self.model, self.accelerator)
        self.judging = Judging(judges, reward, config, self.model, pictures)
        self.saving = Saving(
            trainer, self.run, self.model, self.optimisation, self.judging, Prompts(prompts), reward, pairs, checkpoint
        )
        shown = self.prompts[: config.grid_num_images]
        folder, writes = self.run.folder / "grids", self.accelerator.is_main_process
        self._grids = Grids(folder, shown, lambda: pictures.all("grid", shown), writes)
        self.finished = 0

    @property
    def prompts(self) -> list[str]:
        """What grids and judges see, and what an online trainer samples from."""
        return self.saving.prompts

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
            FergiRewardError: A name in `state` is that of a part of the loop's own; a loss is not finite.
        """
        self.saving.add(state or {})
        self.run.say(self.config.what_is_trained(self.model.family, self.accelerator.num_processes))
        with raised(), self.run.owned(), self.run.interruptible(self.saving.save_last_epoch):
            self.finished = self.saving.resume()
            self._say_what_is_left()
            self.run.start_trackers(self.finished, self.saving.trained_on())
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

    def _one_epoch(self, epoch: Callable[[int], Metrics], summary: Callable[[Mapping[str, float]], str]) -> None:
        started = time.perf_counter()
        metrics = epoch(self.finished)
        self._check_finite(metrics)
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
            if metrics.get("grad_norm") == 0:
                self.run.say("warning: its gradient was 0, so it taught nothing: see that rewards differ by the images")
            self.saving.remember(self.finished, saves)
        if saves:
            self.accelerator.wait_for_everyone()

    def _check_finite(self, metrics: Mapping[str, float]) -> None:
        """End a run whose weights are lost, before they are written; a gradient too large for fp16 moves none."""
        names = ("loss",) if self.accelerator.scaler else ("loss", "grad_norm")
        lost = [f"{name} was {metrics[name]}" for name in names if not math.isfinite(metrics.get(name, 0.0))]
        smaller = self.config.scales_of_losses
        if self.finished or self.optimisation.updates > 1:  # before the first update no learning rate has done anything
            smaller = ["train_learning_rate", *smaller]
        if not lost and not self.optimisation.is_finite:
            lost, smaller = ["a trained weight became infinite"], ["train_learning_rate", "train_adam_weight_decay"]
        if lost:
            advice = f"with a smaller {' or '.join(smaller)}" if smaller else "after a look at the model and its reward"
            raise FergiRewardError(
                f"in epoch {self.finished + 1} {' and '.join(lost)}: resume the last checkpoint, or start again, "
                f"{advice}"
            )

    def _judge(self) -> Metrics:
        metrics, is_best = self.judging.ask(self.finished, self.prompts)
        if is_best:
            self.saving.save_best()
        return metrics

    def _draw_grid(self) -> None:
        if path := self._grids.write(self.finished):
            self.run.tracking.picture(GRID, path, self.finished)
        self.accelerator.wait_for_everyone()

    def _finish(self) -> Path:
        """Save the weights in the form that users load, draw before and after; returns their folder."""
        if self.judging.must_stop:
            self.judging.go_back_to_best()
        elif self.optimisation.ema:
            overwrite(self.model.parameters, self.optimisation.ema.averages)
        self._say_what_the_judges_liked()
        folder = self.run.folder / self.model.weights.name
        self.saving.save_weights(folder, self.finished)
        if path := self._grids.write_before_after(self.model.weights.reference()):
            self.run.tracking.picture("before_after", path, self.finished)
        self.run.tracking.close()
        self.accelerator.wait_for_everyone()
        self.accelerator.end_training()
        return folder

    def _say_what_is_left(self) -> None:
        """Print the checkpoint and the next epoch of a resumed run: nothing else tells it from a fresh one."""
        epochs, resumed = self.config.num_epochs, f"resumed {self.saving.checkpoint}"
        if self.saving.checkpoint is None or self.judging.must_stop:
            return
        if self.finished == epochs:
            self.run.say(f"{resumed}: it has all {epochs} epochs, so nothing is left to train")
        else:
            self.run.say(f"{resumed}: continues with epoch {self.finished + 1} of {epochs}")

    def _say_what_the_judges_liked(self) -> None:
        best, fall = self.judging.watch.best_epoch, self.judging.watch.fall
        if self.judging.must_stop:
            size = (
                f"; their scores are {fall.said('pictures')}" if fall else ""
            )  # a run that is resumed after its end has none
            self.run.say(f"stopped: the judges have fallen since epoch {best}, whose weights are kept{size}")
        elif best is not None and best < self.config.num_epochs:
            self.run.say(f"the judges liked epoch {best} best: its weights are in {self.run.folder / 'best'}")
