"""Reward backpropagation: a diffusion model fine-tuned by the gradient of a differentiable reward.

The reward is a function of the picture, the picture of the last denoising steps, and these of the weights: the chain
rule does the rest, and the steps before are held fixed. One trainer, four published methods:

- DRaFT-K (Clark et al., arXiv 2309.17400, section 4): the last K steps. `backprop_steps_min = backprop_steps_max = K`;
  all steps is plain DRaFT.
- DRaFT-LV (the same, section 4.2): K = 1, with several noises for the last step. `last_step_noises = n`.
- AlignProp (Prabhudesai et al., arXiv 2310.03739, section 3): a new K each time, which keeps long dependencies without
  their bias. `backprop_steps_min = 1, backprop_steps_max = sample_num_steps`; the authors' code draws it for each batch
  (`backprop_steps_each_batch`) from a normal distribution (`backprop_steps_mean`).
- ReFL (Xu et al., ImageReward, arXiv 2304.05977, algorithm 1): one of the last steps, drawn at random, leaps to the
  clean picture at once. `one_step_prediction = true`, the range says which steps, `reward_margin = 2`. ReFL's
  pre-training loss, on data that a reward has not, is left out, as in the authors' program for Stable Diffusion 1.4.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from fergi_reward.callables.gradient_path import GradientPath
from fergi_reward.callables.rewards import Reward, Rewards, check_gradients, evaluate, reward_metrics
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.seeds import generator
from fergi_reward.diffusion.conditioning import Conditioning
from fergi_reward.diffusion.family import Network, Pipeline
from fergi_reward.diffusion.trajectory import denoise, noise_like, starting_noise
from fergi_reward.trainers.dry_run import backward, inputs
from fergi_reward.trainers.loop import Loop
from fergi_reward.trainers.losses import reward_loss
from fergi_reward.trainers.meta_memory import META, peak_memory
from fergi_reward.trainers.processes import gathered
from fergi_reward.trainers.reward_backprop_config import RewardBackpropConfig
from fergi_reward.trainers.shares import batches, epoch_prompts, reward_summary, share


class RewardBackpropTrainer:
    """Draw, and follow the reward's gradient back. What happens to the pipeline: see `TrainedModel`.

    Args:
        config: The options.
        reward: A torch function of the pixels and prompts, which must be differentiable.
        pipeline: What is trained.
        prompts: What is drawn for training, grids and judges.
        judges: By name, rewards that are not trained on but only asked now and then.

    Raises:
        FergiRewardError: As `Loop`; or the reward, or a scorer in it, says that it is not differentiable.
    """

    config_class = RewardBackpropConfig
    learns_from: ClassVar[Literal["reward"]] = "reward"

    def __init__(
        self,
        config: RewardBackpropConfig,
        reward: Reward,
        pipeline: Pipeline,
        prompts: Sequence[str],
        judges: Mapping[str, Reward] | None = None,
    ) -> None:
        alone = ["the reward"] if getattr(reward, "is_differentiable", None) is False else []
        check_gradients(getattr(reward, "without_gradient", alone))
        self.config, self.reward = config, reward
        self.loop = Loop(type(self).__name__, config, pipeline, prompts, judges, reward=reward)
        self.model = self.loop.model

    def train(self) -> Path:
        """Run all epochs that are left; returns the folder of the finished weights."""
        return self.loop.run_epochs(self.epoch, reward_summary)

    def epoch(self, epoch: int) -> dict[str, float]:
        """One optimiser step; returns its metrics."""
        rewards = list[Rewards]()
        update = self.loop.update(self._losses(epoch, rewards), self.config.accumulation_steps)
        of_reward = reward_metrics(gathered(self.loop.accelerator, Rewards.cat(rewards)))
        return of_reward | self.loop.means([update])

    def _losses(self, epoch: int, rewards: list[Rewards]) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """The loss of each batch, with gradient; what it was rewarded with is added to `rewards`."""
        config, prompts = self.config, epoch_prompts(self.loop, epoch)
        with self.loop.progress("training", config.samples_per_epoch, "image") as progress:
            for number, (batch, generators) in enumerate(batches(self.loop, epoch, prompts, config.train_batch_size)):
                first_image = share(self.loop).start + number * config.train_batch_size
                own = (first_image,) if config.backprop_steps_each_batch else ()
                steps = backprop_steps(config, epoch, *own)
                pixels = self.draw_with_gradient(batch, generators, steps)
                loss, rewarded = self.loss(pixels, batch * config.last_step_noises)
                rewards.append(rewarded)
                yield loss, {"backprop_steps": torch.full_like(loss.detach(), steps)}
                progress.update(len(batch))

    def loss(self, pixels: Tensor, prompts: list[str]) -> tuple[Tensor, Rewards]:
        """The loss of pictures (B, 3, H, W), with gradient, and their rewards, without."""
        path = GradientPath(pixels)
        rewards = evaluate(self.reward, pixels, prompts)
        if not (rewards.total.requires_grad and path.reached_by(rewards.total)):
            raise FergiRewardError(
                "the reward has no gradient with respect to the pixels: give a differentiable one, or use DDPO"
            )
        loss = reward_loss(rewards.total, self.config.reward_margin, self.config.train_loss_scale)
        return loss, Rewards(rewards.total.detach(), rewards.terms)

    def draw_with_gradient(
        self, prompts: list[str], generators: Sequence[torch.Generator], backprop_steps: int
    ) -> Tensor:
        """Pictures (N x B, 3, H, W) in [0, 1] whose gradient goes through the last steps only.

        Args:
            prompts: B of them.
            generators: One per image.
            backprop_steps: How many of the last steps.

        Returns:
            N is `last_step_noises`; the B pictures of one noise are next to each other.
        """
        model, steps = self.model, range(self.config.sample_num_steps)
        conditioning = model.encoded(prompts)
        with torch.no_grad():
            latents = starting_noise(model.family.latent_shape, generators, conditioning)
            latents = model.denoise(conditioning, latents, steps[:-backprop_steps], generators)
        if self.config.one_step_prediction:
            return model.family.decode(self._leap(conditioning, latents, steps[-backprop_steps]))
        latents = denoise(
            kept_for_backward(self.config, model.network),
            model.schedule,
            conditioning,
            latents,
            steps[-backprop_steps:],
            generators,
            eta=self.config.sample_eta,
            guidance=model.guidance,
        )
        noises = [noise_like(latents, generators) for _ in range(self.config.last_step_noises - 1)]
        last = torch.full((len(latents),), steps[-1], device=latents.device)
        again = [model.schedule.noised(latents.detach(), noise, last) for noise in noises]
        return model.family.decode(torch.cat([latents, *(self._leap(conditioning, row, steps[-1]) for row in again)]))

    def _leap(self, conditioning: Conditioning, latents: Tensor, step: int) -> Tensor:
        """The clean latents that the prediction at a step implies."""
        rows = torch.full((len(latents),), step, device=latents.device)
        return self.model.schedule.original(self.model.predict(latents, rows, conditioning), latents, rows)


def backprop_steps(config: RewardBackpropConfig, *update: int) -> int:
    """The number of last steps that the gradient goes through: uniform, or normal, rounded up, within the range.

    AlignProp's code draws the first step with a gradient from N(42, 5) of 50, rounds it down, and draws again what is
    out of range: that is a number of steps from N(8, 5), rounded up, of which 1 to 49 are kept.

    Args:
        config: The options.
        update: The epoch; with one draw for each batch, the number of its first image among all processes' as well:
            on other numbers of processes the same images have the same steps.
    """
    drawn = generator(config.seed, "backprop_steps", *update)
    low, high = config.backprop_steps_min, config.backprop_steps_max
    if config.backprop_steps_mean is None:
        return int(torch.randint(low, high + 1, (), generator=drawn))
    normal = NormalDist(config.backprop_steps_mean, config.backprop_steps_std)
    below, within = normal.cdf(low - 1), normal.cdf(high) - normal.cdf(low - 1)
    share = torch.rand((), generator=drawn, dtype=torch.float64).item()
    return min(max(math.ceil(normal.inv_cdf(below + within * share)), low), high)


def kept_for_backward(config: RewardBackpropConfig, network: Network) -> Network:
    """The network with its activations kept, or computed again where they are needed."""
    return partial(checkpoint, network, use_reentrant=False) if config.checkpoint_steps else network


def longest_pass_memory(config: RewardBackpropConfig, pipeline: Pipeline) -> int:
    """Peak bytes of the longest pass. Each step keeps the same: beyond three they are not taken but added."""
    steps = 1 if config.one_step_prediction else config.backprop_steps_max
    peak = peak_memory(partial(_meta_pass, config, pipeline, min(steps, 3)))
    if steps <= 3:
        return peak
    return peak + (steps - 3) * (peak - peak_memory(partial(_meta_pass, config, pipeline, 2)))


def _meta_pass(config: RewardBackpropConfig, pipeline: Pipeline, steps: int) -> None:
    latents, conditioning, guidance = inputs(config, pipeline, config.train_batch_size)
    family = config.family(pipeline)
    schedule = family.schedule(config.sample_num_steps, META)
    network = kept_for_backward(config, family.denoiser(config.sample_guidance_scale))
    latents = denoise(network, schedule, conditioning, latents, range(steps), [], eta=0.0, guidance=guidance)
    backward(family.decode(latents.repeat(config.last_step_noises, 1, 1, 1)))
