"""DDPO: a diffusion model fine-tuned by policy gradient on any reward, differentiable or not.

Black et al., Training Diffusion Models with Reinforcement Learning, arXiv 2305.13301: denoising is a chain of
Gaussian decisions; those that led to images better than expected are made more probable. Options are named as in
TRL's DDPOConfig, which TRL no longer has.
"""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from tqdm import tqdm

from fergi_reward.errors import FergiRewardError
from fergi_reward.trainers.advantages import PerPromptStatTracker, standardize
from fergi_reward.trainers.config import TrainerConfig, option
from fergi_reward.trainers.diffusion import DDIMSchedule, gaussian_log_prob
from fergi_reward.trainers.lora import add_lora, load_lora, save_lora
from fergi_reward.trainers.losses import ClippedLoss, clipped_loss
from fergi_reward.trainers.rewards import Reward, Rewards, evaluate
from fergi_reward.trainers.run import Run, folder_written_whole
from fergi_reward.trainers.samples import draw_prompts, write_grid
from fergi_reward.trainers.seeds import generator
from fergi_reward.trainers.trajectory import (
    Guidance,
    Trajectory,
    decode,
    encode_prompts,
    predict,
    sample_trajectory,
)

if TYPE_CHECKING:
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline


@dataclass(frozen=True)
class DDPOConfig(TrainerConfig):
    """Options of DDPO. Batch sizes are those of one process."""

    sample_num_steps: int = option(50, "Denoising steps of an image.")
    sample_eta: float = option(1.0, "Noise of a step: 1 is DDPM's. At 0 nothing is random, and nothing can be trained.")
    sample_guidance_scale: float = option(5.0, "Classifier-free guidance of the sampling; 1 turns it off.")
    sample_batch_size: int = option(1, "Images sampled and rewarded at a time.")
    sample_num_batches_per_epoch: int = option(2, "Batches sampled in an epoch.")
    train_batch_size: int = option(1, "Images in one forward and backward pass.")
    train_gradient_accumulation_steps: int = option(
        1, "Training batches in an optimiser step; each already accumulates all of its timesteps."
    )
    train_num_inner_epochs: int = option(1, "Passes over the samples of an epoch.")
    train_timestep_fraction: float = option(1.0, "Share of an image's steps, drawn anew in each pass, to train on.")
    train_cfg: bool = option(
        True, "Train the guided prediction; off: the conditional one, at half the work, while sampling stays guided."
    )
    train_learning_rate: float = option(3e-4, "Learning rate of AdamW.")
    train_adam_beta1: float = option(0.9, "Decay of AdamW's first moment.")
    train_adam_beta2: float = option(0.999, "Decay of AdamW's second moment.")
    train_adam_weight_decay: float = option(1e-4, "Weight decay of AdamW.")
    train_adam_epsilon: float = option(1e-8, "Epsilon of AdamW.")
    train_max_grad_norm: float = option(1.0, "Gradients longer than this are shortened to it.")
    train_adv_clip_max: float = option(5.0, "Advantages are clipped to plus and minus this.")
    train_clip_range: float = option(1e-4, "How far an importance ratio may leave 1 before its gradient stops.")
    per_prompt_stat_tracking: bool = option(
        True, "Judge an image by the rewards of its own prompt; off: by all rewards of the epoch."
    )
    per_prompt_stat_tracking_buffer_size: int = option(16, "Rewards of a prompt that are remembered.")
    per_prompt_stat_tracking_min_count: int = option(
        16, "A prompt with fewer remembered rewards is judged by all rewards of the epoch."
    )

    @property
    def samples_per_epoch(self) -> int:
        """Images that one process samples in an epoch."""
        return self.sample_batch_size * self.sample_num_batches_per_epoch

    def problems(self) -> list[str]:
        """Ranges, and batches that do not divide each other."""
        counts = [
            *("sample_num_steps", "sample_batch_size", "sample_num_batches_per_epoch", "train_batch_size"),
            *("train_gradient_accumulation_steps", "train_num_inner_epochs"),
            *("per_prompt_stat_tracking_buffer_size", "per_prompt_stat_tracking_min_count"),
        ]
        positive = [
            *("sample_eta", "train_timestep_fraction", "train_learning_rate", "train_adam_epsilon"),
            *("train_max_grad_norm", "train_adv_clip_max", "train_clip_range"),
        ]
        found = [*super().problems(), *self.below(1, [*counts, "sample_guidance_scale"])]
        found += [*self.not_positive(positive), *self.below(0, ["train_adam_weight_decay"])]
        for name in ("sample_eta", "train_timestep_fraction"):
            if getattr(self, name) > 1:
                found.append(f"{name} is {getattr(self, name)}, must be at most 1")
        for name in ("train_adam_beta1", "train_adam_beta2"):
            if not 0 <= getattr(self, name) < 1:
                found.append(f"{name} is {getattr(self, name)}, must be at least 0 and below 1")
        return found + self._batch_problems()

    def _batch_problems(self) -> list[str]:
        step = self.train_batch_size * self.train_gradient_accumulation_steps
        if step < 1 or self.samples_per_epoch % step == 0:
            return []
        return [
            f"an epoch has {self.samples_per_epoch} samples (sample_batch_size x sample_num_batches_per_epoch), which "
            f"{step} (train_batch_size x train_gradient_accumulation_steps) does not divide"
        ]


@dataclass(frozen=True)
class Experience:
    """What an epoch trains on: trajectories, and how good each was.

    Attributes:
        trajectory: Of N images.
        advantages: (N,).
        indices: (N,) number of each image among those of all processes.
    """

    trajectory: Trajectory
    advantages: Tensor
    indices: Tensor


class DDPOTrainer:
    """Sample, reward, reinforce; again.

    Of the pipeline it is given it changes this: everything moves to the accelerator's device, frozen weights take
    the dtype of the mixed precision, gradients are off but for the adapter's, and the UNet carries the adapter, in
    its trained state afterwards. The scheduler stays as it is: sampling reads its settings only.

    Args:
        config: The options.
        reward: Any callable from pixels and prompts to rewards.
        pipeline: A Stable Diffusion pipeline of diffusers.
        prompts: What to sample from.

    Raises:
        FergiRewardError: No prompts, a pipeline that cannot be trained, or a checkpoint that does not fit.
    """

    def __init__(
        self, config: DDPOConfig, reward: Reward, pipeline: "StableDiffusionPipeline", prompts: Sequence[str]
    ) -> None:
        if not prompts:
            raise FergiRewardError("there are no prompts: give at least one")
        self.config, self.reward, self.pipeline, self.prompts = config, reward, pipeline, list(prompts)
        self.run = Run(config)
        self.checkpoint = self.run.resume_checkpoint()
        self.accelerator = self.run.accelerator
        device = self.accelerator.device
        pipeline.to(device)
        if pipeline.dtype != self.run.weight_dtype:
            pipeline.to(self.run.weight_dtype)
        self.parameters = add_lora(pipeline, rank=config.lora_rank, alpha=config.lora_alpha, seed=config.seed)
        self.unet, self.optimizer = self.accelerator.prepare(pipeline.unet, self._adamw())
        self.schedule = DDIMSchedule.from_scheduler(pipeline.scheduler, config.sample_num_steps, device)
        self.trained_steps = torch.tensor(self.schedule.random_steps(config.sample_eta), device=device)
        self.guidance = self._guidance()
        self.grid_prompts = self.prompts[: config.grid_num_images]
        self.tracker = PerPromptStatTracker(
            config.per_prompt_stat_tracking_buffer_size, config.per_prompt_stat_tracking_min_count
        )

    def train(self) -> Path:
        """Run all epochs that are left.

        Returns:
            The folder of the finished adapter, for `pipeline.load_lora_weights`.
        """
        finished = self._resume()
        self.run.start_trackers(finished)
        with self.run.interruptible():
            if finished == 0:
                self._draw_grid(0)
            for epoch in range(finished, self.config.num_epochs):
                self._epoch(epoch)
            self._finish()
        return self.run.folder / "lora"

    def _epoch(self, epoch: int) -> None:
        started = time.perf_counter()
        experience, metrics = self._sample(epoch)
        metrics |= self._train(epoch, experience)
        metrics["seconds"] = time.perf_counter() - started
        finished = epoch + 1
        self.run.log(finished, metrics)
        self.accelerator.print(
            f"epoch {finished}/{self.config.num_epochs}: reward {metrics['reward_mean']:.4f} "
            f"(std {metrics['reward_std']:.4f}), loss {metrics['loss']:.3g}, {metrics['seconds']:.1f} s"
        )
        last = finished == self.config.num_epochs
        if last or finished % self.config.save_freq == 0:
            self.run.save_checkpoint(finished, self._state(), lambda folder: save_lora(self.pipeline, folder))
        if last or (self.config.grid_freq and finished % self.config.grid_freq == 0):
            self._draw_grid(finished)

    def _sample(self, epoch: int) -> tuple[Experience, dict[str, float]]:
        """Sample this process's share of the epoch's images and judge them among those of all processes."""
        config, count = self.config, self.config.samples_per_epoch
        total = count * self.accelerator.num_processes
        prompts = draw_prompts(self.prompts, total, generator(config.seed, "prompts", epoch))
        first = self.accelerator.process_index * count
        trajectories, rewards = [], []
        with self._progress("sampling", count, "image") as progress:
            for start in range(first, first + count, config.sample_batch_size):
                indices = range(start, start + config.sample_batch_size)
                batch = [prompts[index] for index in indices]
                trajectories.append(self._denoise(batch, [generator(config.seed, "noise", epoch, i) for i in indices]))
                pixels = decode(self.pipeline, trajectories[-1].latents[:, -1])
                rewards.append(evaluate(self.reward, pixels, batch))
                progress.update(len(batch))
        gathered = self._gathered(Rewards.cat(rewards))
        advantages = self._advantages(prompts, gathered.total)[first : first + count]
        experience = Experience(Trajectory.cat(trajectories), advantages, torch.arange(first, first + count))
        return experience, reward_metrics(gathered)

    def _denoise(self, prompts: list[str], generators: list[torch.Generator]) -> Trajectory:
        unet, size = self.pipeline.unet, self.pipeline.unet.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        return sample_trajectory(
            unet,
            self.schedule,
            encode_prompts(self.pipeline, prompts),
            (unet.config.in_channels, height, width),
            generators,
            eta=self.config.sample_eta,
            guidance=self.guidance,
            guided_log_probs=self.config.train_cfg,
        )

    def _gathered(self, rewards: Rewards) -> Rewards:
        terms = {name: self.accelerator.gather(term) for name, term in rewards.terms.items()}
        return Rewards(self.accelerator.gather(rewards.total), terms)

    def _advantages(self, prompts: list[str], rewards: Tensor) -> Tensor:
        tracked = self.config.per_prompt_stat_tracking
        advantages = self.tracker.update(prompts, rewards) if tracked else standardize(rewards, rewards)
        return advantages.clamp(-self.config.train_adv_clip_max, self.config.train_adv_clip_max)

    def _train(self, epoch: int, experience: Experience) -> dict[str, float]:
        config, updates = self.config, list[Tensor]()
        images = len(experience.indices)
        rows_in_update = config.train_batch_size * config.train_gradient_accumulation_steps
        with self._progress("training", config.train_num_inner_epochs * images // rows_in_update, "update") as progress:
            for inner_epoch in range(config.train_num_inner_epochs):
                key = (config.seed, "rows", epoch, inner_epoch, self.accelerator.process_index)
                order = torch.randperm(images, generator=generator(*key))
                steps = self._step_order(epoch, inner_epoch, experience.indices)
                for rows in order.split(rows_in_update):
                    updates.append(self._update(experience, rows, steps))
                    progress.update()
        means = self.accelerator.reduce(torch.stack(updates).mean(0), reduction="mean")
        return dict(zip(("loss", "approx_kl", "clip_fraction", "grad_norm"), means.tolist(), strict=True))

    def _step_order(self, epoch: int, inner_epoch: int, indices: Tensor) -> Tensor:
        """Which steps each image is trained on, in which order (N, S): its own, so that a batch mixes noise levels."""
        count = max(1, int(len(self.trained_steps) * self.config.train_timestep_fraction))
        generators = [generator(self.config.seed, "steps", epoch, inner_epoch, index) for index in indices.tolist()]
        orders = [torch.randperm(len(self.trained_steps), generator=drawn)[:count] for drawn in generators]
        return self.trained_steps[torch.stack(orders).to(self.trained_steps.device)]

    def _update(self, experience: Experience, rows: Tensor, steps: Tensor) -> Tensor:
        """One optimiser step from all steps of the images in `rows`: loss, approx_kl, clip_fraction, grad_norm (4,)."""
        batches = rows.split(self.config.train_batch_size)
        passes = [(batch, column) for batch in batches for column in range(steps.shape[1])]
        figures = []
        for number, (batch, column) in enumerate(passes, start=1):
            # Processes exchange gradients once an update, in its last pass.
            with nullcontext() if number == len(passes) else self.accelerator.no_sync(self.unet):
                result = self._loss(experience, batch, steps[batch, column])
                self.accelerator.backward(result.loss / len(passes))
            figures.append(torch.stack([result.loss.detach(), result.approx_kl, result.clip_fraction]))
        norm = self.accelerator.clip_grad_norm_(self.parameters, self.config.train_max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return torch.cat([torch.stack(figures).mean(0), norm.reshape(1)])

    def _loss(self, experience: Experience, rows: Tensor, steps: Tensor) -> ClippedLoss:
        """The loss of one step of each image in `rows`, `steps[b]` of the b-th."""
        trajectory, config = experience.trajectory, self.config
        latents = trajectory.latents[rows, steps]
        guidance = self.guidance if config.train_cfg else None
        embeds = trajectory.prompt_embeds[rows]
        prediction, _ = predict(self.unet, latents, self.schedule.timesteps[steps], embeds, guidance)
        mean, std = self.schedule.step(prediction, latents, steps, config.sample_eta)
        log_probs = gaussian_log_prob(trajectory.latents[rows, steps + 1], mean, std)
        old_log_probs = trajectory.log_probs[rows, steps]
        return clipped_loss(log_probs, old_log_probs, experience.advantages[rows], config.train_clip_range)

    def _adamw(self) -> torch.optim.AdamW:
        config = self.config
        return torch.optim.AdamW(
            self.parameters,
            lr=config.train_learning_rate,
            betas=(config.train_adam_beta1, config.train_adam_beta2),
            weight_decay=config.train_adam_weight_decay,
            eps=config.train_adam_epsilon,
        )

    def _guidance(self) -> Guidance | None:
        scale = self.config.sample_guidance_scale
        return Guidance(scale, encode_prompts(self.pipeline, [""])) if scale > 1 else None

    def _state(self) -> dict[str, Any]:
        scaler = self.accelerator.scaler
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler else None,
            "stat_tracker": self.tracker.state_dict(),
        }

    def _resume(self) -> int:
        """Go back to where the checkpoint was written, if there is one; returns the finished epochs."""
        if self.checkpoint is None:
            return 0
        state = self.run.load_state(self.checkpoint)
        load_lora(self.pipeline, self.checkpoint)
        self.optimizer.load_state_dict(state["optimizer"])
        self.tracker.load_state_dict(state["stat_tracker"])
        if self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        return state["epoch"]

    def _finish(self) -> None:
        if self.accelerator.is_main_process:
            with folder_written_whole(self.run.folder / "lora") as folder:
                save_lora(self.pipeline, folder)
            self._draw_before_after()
        self.accelerator.wait_for_everyone()
        self.accelerator.end_training()
        # Takes the mixed-precision wrapper off the UNet's forward again.
        self.accelerator.unwrap_model(self.unet, keep_fp32_wrapper=False)

    def _draw_grid(self, finished: int) -> None:
        if self.accelerator.is_main_process and self.grid_prompts:
            path = self.run.folder / "grids" / f"epoch_{finished:04d}.png"
            write_grid(path, self._fixed_pictures(), self.grid_prompts, columns=4)
        self.accelerator.wait_for_everyone()

    def _draw_before_after(self) -> None:
        """Two rows of the same prompts and seeds: without the adapter, and with it."""
        if not self.grid_prompts:
            return
        self.pipeline.unet.disable_adapters()
        before = self._fixed_pictures()
        self.pipeline.unet.enable_adapters()
        captions = [f"{when}: {prompt}" for when in ("before", "after") for prompt in self.grid_prompts]
        pixels = torch.cat([before, self._fixed_pictures()])
        write_grid(self.run.folder / "grids" / "before_after.png", pixels, captions, columns=len(self.grid_prompts))

    def _fixed_pictures(self) -> Tensor:
        """The grid's prompts drawn with the grid's seeds, (B, 3, H, W) in [0, 1]."""
        pictures = []
        for start in range(0, len(self.grid_prompts), self.config.sample_batch_size):
            prompts = self.grid_prompts[start : start + self.config.sample_batch_size]
            generators = [generator(self.config.seed, "grid", start + row) for row in range(len(prompts))]
            pictures.append(decode(self.pipeline, self._denoise(prompts, generators).latents[:, -1]))
        return torch.cat(pictures)

    def _progress(self, phase: str, total: int, unit: str) -> tqdm:
        return tqdm(total=total, desc=phase, unit=unit, leave=False, disable=not self.accelerator.is_main_process)


def reward_metrics(rewards: Rewards) -> dict[str, float]:
    """Mean and standard deviation of the reward and of each of its terms; a term that no image has is left out."""
    metrics = {"reward_mean": rewards.total.mean().item(), "reward_std": rewards.total.std(correction=0).item()}
    for name, term in rewards.terms.items():
        if len(known := term[torch.isfinite(term)]):
            metrics[f"terms/{name}_mean"] = known.mean().item()
            metrics[f"terms/{name}_std"] = known.std(correction=0).item()
    return metrics
