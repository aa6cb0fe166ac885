"""What all trainers do alike: set up, run epoch after epoch, draw the same pictures, ask judges, save, resume."""

import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from fergi_reward.callables.rewards import Reward
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.interrupts import deferred, raised
from fergi_reward.core.seeds import generator
from fergi_reward.diffusion.encoded_prompts import EncodedPrompts
from fergi_reward.diffusion.family import family_of
from fergi_reward.diffusion.grids import Grids
from fergi_reward.diffusion.pipelines import (
    Conditioning,
    Pipeline,
    checkpoint_gradients,
    decode,
    latent_shape,
    schedule_of,
)
from fergi_reward.diffusion.trajectory import denoise, starting_noise
from fergi_reward.files.atomic import folder_written_whole
from fergi_reward.files.digests import record_digest, tensors_digest
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.guards import JudgeWatch, check_held_out, judge_metrics, judge_pictures
from fergi_reward.trainers.identity import JUDGING, Identity, as_record, described, identity_of, model_part
from fergi_reward.trainers.model_card import write_model_card
from fergi_reward.trainers.optimisation import Optimisation
from fergi_reward.trainers.pairs import PairTable
from fergi_reward.trainers.run import STATE_FILE, Run
from fergi_reward.trainers.weights import attach, copied, encoders_home, loading_line, overwrite, swapped_in

Config = TypeVar("Config", bound=TrainerConfig)
Part = TypeVar("Part")


class Trainer(ABC, Generic[Config]):
    """A run of epochs; a subclass says what an epoch is, and which of its figures to print.

    Of the pipeline it is given it changes this: everything moves to the accelerator's device (with `offload_encoders`
    the text encoders to the CPU), frozen weights take the dtype of the mixed precision, gradients are off but for what
    is trained, and the UNet or transformer carries the adapter (or is trained itself), in its trained state afterwards.
    The scheduler stays as it is: sampling reads its settings only.

    Args:
        config: The options.
        pipeline: A pipeline of diffusers: Stable Diffusion 1.5, 2, XL, 3 or 3.5, or FLUX.1.
        prompts: What grids and judges get to see, and what an online trainer samples from.
        judges: By name, rewards that are not trained on but only asked now and then; see `guards`.
        reward: What an online trainer follows: the judges' opinions are logged beside its own.

    Attributes:
        weights: What is trained.
        accelerator: accelerate's view of devices, processes and precision.
        encoded: The prompts, encoded. Those of grids and judges are kept as long as the run lasts.

    Raises:
        FergiRewardError: No prompts, a pipeline that cannot be trained, a checkpoint that does not fit, a judge that is
            trained on, or none to stop the run.
    """

    def __init__(
        self,
        config: Config,
        pipeline: Pipeline,
        prompts: Sequence[str],
        judges: Mapping[str, Reward] | None = None,
        reward: Reward | None = None,
    ) -> None:
        if not prompts:
            raise FergiRewardError("there are no prompts: give at least one")
        self.judges = dict(judges or {})
        check_held_out(self.judges, reward)
        if config.stop_when_judge_falls and not self.judges:
            raise FergiRewardError("stop_when_judge_falls needs a judge: name one that the reward does not weigh")
        self.watch = JudgeWatch(config.judge_patience, config.judge_tolerance)
        self.best: list[Tensor] = []
        self._last_epoch: tuple[int, list[Tensor], dict[str, Any], int] | None = None
        self.finished = 0
        # What the weights learned from before the checkpoint that is resumed, stretch by stretch.
        self._seen: list[dict[str, Any]] = []
        self.config, self.reward, self.pipeline, self.prompts = config, reward, pipeline, list(prompts)
        self.run = Run(config)
        self.checkpoint = self.run.resume_checkpoint()
        self.accelerator = self.run.accelerator
        self.family = family_of(pipeline)
        self._model = model_part(pipeline)
        self.schedule = schedule_of(pipeline, config.sample_num_steps, self.accelerator.device)
        self.weights = attach(pipeline, config, self.accelerator.device, self.run.weight_dtype)
        self.parameters = self.weights.parameters
        if config.gradient_checkpointing:
            checkpoint_gradients(pipeline)
        self.optimisation = Optimisation(self.accelerator, self.parameters, config)
        device = self.accelerator.device
        self.encoded = EncodedPrompts(self.family, device, encoders_home(config, device))
        with self.encoded.awake():
            self.guidance = self.family.guidance(config.sample_guidance_scale)
        grid_prompts = self.prompts[: config.grid_num_images]
        self.grids = Grids(
            self.run.folder / "grids",
            grid_prompts,
            lambda: torch.cat(self._of_all([(at, drawn.cpu()) for at, drawn in self._fixed("grid", grid_prompts)])),
            writes=self.accelerator.is_main_process,
        )

    @abstractmethod
    def epoch(self, epoch: int) -> dict[str, float]:
        """Train for one epoch, the `epoch`-th counted from 0; returns its metrics."""

    @abstractmethod
    def summary(self, metrics: Mapping[str, float]) -> str:
        """The metrics of an epoch that its line in the terminal shows."""

    @property
    def learned_from(self) -> object:
        """What the model card describes: anything that can `describe` itself, or has a name."""
        return self.reward

    @cached_property
    def identity(self) -> Identity:
        """All that the run depends on, by content; a resumed run must find the same."""
        return identity_of(
            model=self._model, prompts=self.prompts, judges=self.judges, reward=self.reward, pairs=self.learned_pairs
        )

    @property
    def learned_pairs(self) -> PairTable | None:
        """The pairs of a trainer that learns from some."""
        return None

    def train(self) -> Path:
        """Run all epochs that are left, or until the judges have fallen.

        Returns:
            The folder of the finished weights; the last line in the terminal says how to load them.
        """
        with raised(), self.run.owned(), self.run.interruptible(self._save_last_epoch):
            finished = self._resume()
            self.run.start_trackers(finished, self._trained_on())
            if finished == 0:
                self._draw_grid(0)
                if self.judges:
                    self.run.log(0, self._judge(0))
            for epoch in range(finished, self.config.num_epochs):
                if self._must_stop():
                    break
                self._one_epoch(epoch)
            self._finish()
        return self.run.folder / self.weights.name

    def network(self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        """What the UNet or transformer predicts (B, C, H, W), in the mixed precision."""
        with self.accelerator.autocast():
            return self.family.predict(latents, timesteps, conditioning, self.config.sample_guidance_scale)

    def draw(self, prompts: Sequence[str], generators: Sequence[torch.Generator]) -> Tensor:
        """One picture a prompt, (B, 3, H, W) in [0, 1], without gradients; the b-th from the b-th generator alone."""
        with torch.no_grad():
            conditioning = self.encoded(prompts)
            latents = starting_noise(latent_shape(self.pipeline), generators, conditioning)
            steps = range(self.config.sample_num_steps)
            return decode(self.pipeline, self.denoise(conditioning, latents, steps, generators))

    def denoise(
        self,
        conditioning: Conditioning,
        latents: Tensor,
        steps: Iterable[int],
        generators: Sequence[torch.Generator],
    ) -> Tensor:
        """Latents (B, C, H, W) after the given steps, as `trajectory.denoise` with the options of the run."""
        eta = self.config.sample_eta
        return denoise(
            self.network, self.schedule, conditioning, latents, steps, generators, eta=eta, guidance=self.guidance
        )

    def means(self, figures: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
        """The mean of scalars by name, over the batches and the processes."""
        means = self.accelerator.reduce(mean_of(figures), reduction="mean")
        return dict(zip(means, torch.stack(list(means.values())).tolist(), strict=True))

    def progress(self, phase: str, total: int, unit: str) -> tqdm:
        """A bar, on the main process only."""
        return tqdm(total=total, desc=phase, unit=unit, leave=False, disable=not self.accelerator.is_main_process)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds besides the weights."""
        judged = {"watch": self.watch.state_dict(), "best": self.best}
        return {**self.optimisation.state_dict(), **judged, "trained": self.weights.rounded_by_saving()}

    def load_state(self, state: dict[str, Any], changed: Set[str]) -> None:
        """Go back to what `state` returned; the weights were loaded before.

        Args:
            state: Of a checkpoint.
            changed: Parts of the identity that are not what they were: what they make worthless is dropped.
        """
        if state["trained"]:
            overwrite(self.parameters, state["trained"])
        self.optimisation.load_state_dict(state)
        # Other pictures or judges than before start anew: their scores cannot be compared.
        watched = state["watch"]
        if len(watched["best"]) == self.config.judge_num_images and state["best"] and not JUDGING & changed:
            self.watch.load_state_dict(watched)
            self.best = [value.to(self.accelerator.device) for value in state["best"]]
            self._save_best()

    def _one_epoch(self, epoch: int) -> None:
        started = time.perf_counter()
        metrics = self.epoch(epoch)
        metrics["seconds"] = time.perf_counter() - started
        self.finished = finished = epoch + 1
        if self.judges and (finished == self.config.num_epochs or finished % self.config.judge_freq == 0):
            with self.optimisation.averaged():
                metrics |= self._judge(finished)
        last = finished == self.config.num_epochs or self._must_stop()
        # Before the checkpoint, after which a resumed run would not draw it any more.
        if last or (self.config.grid_freq and finished % self.config.grid_freq == 0):
            with self.optimisation.averaged():
                self._draw_grid(finished)
        saves = last or finished % self.config.save_freq == 0
        with deferred():  # an epoch that was told of is not lost
            self.run.log(finished, metrics)
            told = f"{self.summary(metrics)}, {metrics['seconds']:.1f} s"
            self.run.say(f"epoch {finished}/{self.config.num_epochs}: {told}")
            few = self.weights.are_few
            state = deepcopy(self.state()) if few else self.state()
            self._last_epoch = (finished, copied(self.parameters) if few else [], state, self.optimisation.updates)
            if saves:
                self._save_checkpoint(finished, state)
        if saves:
            self.accelerator.wait_for_everyone()

    def _save_last_epoch(self) -> None:
        """Write a checkpoint of the end of the last whole epoch: what an interrupted one did cannot be resumed.

        No process waits for another here, since some may have ended already. Of a whole network there is no copy: it
        can be written until the first update of the next epoch.
        """
        if self._last_epoch:
            finished, values, state, updates = self._last_epoch
            if values:
                overwrite(self.parameters, values)
            elif updates != self.optimisation.updates:
                return
            self._save_checkpoint(finished, state)

    def _save_checkpoint(self, finished: int, state: dict[str, Any]) -> None:
        if self.accelerator.is_main_process:
            told = {
                "trainer": type(self).__name__,
                "identity": as_record(self.identity),
                "seen": self._history(finished),
            }
            weights = {"weights": self._weights_digest()}
            self.run.save_checkpoint(finished, {**told, **weights, **state}, self.weights.save)

    def _weights_digest(self) -> str:
        """By which a checkpoint's weights are known to be those that the rest of its state belongs to."""
        return tensors_digest({str(number): value for number, value in enumerate(self.parameters)})

    def _history(self, finished: int) -> list[dict[str, Any]]:
        """What the weights learned from, stretch by stretch of epochs, the last one last."""
        parts = {key: str(part) for key, part in self.identity.items() if key != "judges"}
        now, before = {**described(self.learned_from), "learned_from": parts}, list(self._seen)
        first = before[-1]["epochs"][1] + 1 if before else 1
        if before and before[-1] == {**now, "epochs": before[-1]["epochs"]}:
            first = before.pop()["epochs"][0]
        finished = max(1, finished)
        stretches = [*before, {**now, "epochs": [first, finished]}]
        started = [stretch for stretch in stretches if stretch["epochs"][0] <= finished]
        return [
            {**stretch, "epochs": [start, min(end, finished)]}
            for stretch in started
            for start, end in [stretch["epochs"]]
        ]

    def _must_stop(self) -> bool:
        return self.config.stop_when_judge_falls and self.watch.fallen

    def _judge(self, finished: int) -> dict[str, float]:
        """Show the judges the fixed pictures, and keep the weights if they have never been happier."""
        scores = self._judged()
        best = self.watch.update(finished, {name: scores[name] for name in self.judges})
        if best:
            self.best = copied(self.parameters)
            self._save_best()
        return judge_metrics(scores)

    def _judged(self) -> dict[str, list[float]]:
        count = self.config.judge_num_images
        prompts = (self.prompts * math.ceil(count / len(self.prompts)))[:count]
        mine = [
            (start, judge_pictures(self.judges, self.reward, [pixels], prompts[start : start + len(pixels)]))
            for start, pixels in self._fixed("judge", prompts)
        ]
        parts = self._of_all(mine)
        return {name: [score for part in parts for score in part[name]] for name in parts[0]}

    def _save_best(self) -> None:
        with swapped_in(self.parameters, self.best):
            self._save_weights(self.run.folder / "best", self.watch.best_epoch or 0)

    def _save_weights(self, path: Path, finished: int) -> None:
        if self.accelerator.is_main_process:
            with folder_written_whole(path) as folder:
                self.weights.save(folder)
                write_model_card(folder, type(self).__name__, self.config, self._history(finished), self.pipeline)
        self.accelerator.wait_for_everyone()

    def _resume(self) -> int:
        """Go back to where the checkpoint was written, if there is one; returns the finished epochs."""
        identity = self.identity  # read before the first epoch: what cannot be read ends the run here
        if self.checkpoint is None:
            return 0
        state, changed = self.run.load_state(self.checkpoint, type(self).__name__, identity)
        self.weights.load(self.checkpoint)
        try:
            self._seen = state["seen"]
            self.load_state(state, changed)
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
        self.run.abandon_after(state["epoch"])
        self.finished = state["epoch"]
        return self.finished

    def _finish(self) -> None:
        if self._must_stop():
            overwrite(self.parameters, self.best)
        elif self.optimisation.ema:
            overwrite(self.parameters, self.optimisation.ema.averages)
        self._say_what_the_judges_liked()
        folder = self.run.folder / self.weights.name
        self._save_weights(folder, self.finished)
        self.grids.write_before_after(self.weights.reference())
        self.accelerator.wait_for_everyone()
        self.run.say(f"the result is in {folder}: {loading_line(self.pipeline, self.config, str(folder))}")
        self.accelerator.end_training()

    def _say_what_the_judges_liked(self) -> None:
        best = self.watch.best_epoch
        if self._must_stop():
            self.run.say(f"stopped: the judges have fallen since epoch {best}, whose weights are kept")
        elif best is not None and best < self.config.num_epochs:
            self.run.say(f"the judges liked epoch {best} best: its weights are in {self.run.folder / 'best'}")

    def _draw_grid(self, finished: int) -> None:
        if path := self.grids.write(finished):
            self.run.log_picture("grid", path, finished)
        self.accelerator.wait_for_everyone()

    def _of_all(self, mine: list[tuple[int, Part]]) -> list[Part]:
        """What all processes made of their batches, in the order of where these start."""
        from accelerate.utils import gather_object

        return [part for _, part in sorted(gather_object(mine), key=_first)]

    def _trained_on(self) -> dict[str, str]:
        """What a tracker logs beside the options."""
        return {
            "model": self.pipeline.config.get("_name_or_path") or "built in memory",
            "learned_from": json.dumps(described(self.learned_from)),
            "prompts": f"{len(self.prompts)} of SHA-256 {record_digest(self.prompts)}",
            "judges": ", ".join(self.judges),
        }

    def _fixed(self, purpose: str, prompts: Sequence[str]) -> Iterator[tuple[int, Tensor]]:
        """Prompts drawn with the same seeds whenever it is: this process's batches, and where each starts.

        The batches are those of one process, shared out, so that no process waits for long and the bits are the same.
        """
        size, place = self.config.picture_batch_size, self.accelerator
        starts = range(place.process_index * size, len(prompts), place.num_processes * size)
        batches = {start: prompts[start : start + size] for start in starts}
        self.encoded.keep(purpose, [prompt for batch in batches.values() for prompt in batch])
        for start, batch in batches.items():
            generators = [generator(self.config.seed, purpose, start + row) for row in range(len(batch))]
            yield start, self.draw(batch, generators)


def _first(pair: tuple[int, object]) -> int:
    return pair[0]


def mean_of(figures: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of scalars by name."""
    return {name: torch.stack([of_one[name] for of_one in figures]).mean() for name in figures[0]}
