"""What DDPO, Flow-GRPO and DiffusionNFT share: sampling an epoch's images, and going through them to train.

They sample images with a record of each denoising step, have them rewarded, and then train on single steps of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fergi_reward.callables.rewards import Reward, RewardQueue, Rewards
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.seeds import generator
from fergi_reward.core.transfers import sent
from fergi_reward.diffusion.conditioning import Conditioning
from fergi_reward.diffusion.family import Pipeline
from fergi_reward.diffusion.flow import FlowSchedule
from fergi_reward.diffusion.schedule import Schedule
from fergi_reward.diffusion.trajectory import Trajectory, sample_trajectory
from fergi_reward.trainers.loop import Loop
from fergi_reward.trainers.processes import gathered
from fergi_reward.trainers.rollout_config import RolloutConfig
from fergi_reward.trainers.shares import batches, share

# From what to draw, and a generator for each image, to how it was drawn.
Draw = Callable[[Conditioning, Sequence[torch.Generator]], Trajectory]


@dataclass(frozen=True)
class Rollout:
    """What this process trains on in an epoch: N of its images, and how good each was.

    Attributes:
        trajectory: How they were denoised.
        advantages: (N,), on the device.
        indices: (N,) number of each image among those of all processes.
        epoch: Counted from 0.
    """

    trajectory: Trajectory
    advantages: Tensor
    indices: Tensor
    epoch: int

    @classmethod
    def of(cls, loop: Loop[RolloutConfig], epoch: int, trajectory: Trajectory, advantages: Tensor) -> "Rollout":
        """This process's part.

        Args:
            loop: The run's loop.
            epoch: Counted from 0.
            trajectory: Denoising of this process's images.
            advantages: Those of the images of all processes, on the CPU.
        """
        mine = share(loop)
        own = sent(advantages[mine.start : mine.stop], loop.accelerator.device)
        return cls(trajectory, own, torch.tensor(mine), epoch)


def recorder(loop: Loop[RolloutConfig], random_steps: Sequence[int]) -> Draw:
    """What draws images with a record of every step, of which some draw noise."""
    config, model = loop.config, loop.model
    return lambda conditioning, generators: sample_trajectory(
        model.network,
        model.schedule,
        conditioning,
        model.family.latent_shape,
        generators,
        random_steps,
        eta=config.sample_eta,
        guidance=model.guidance,
        guided_log_probs=config.train_cfg,
    )


def sample(
    loop: Loop[RolloutConfig], reward: Reward, epoch: int, prompts: Sequence[str], draw: Draw
) -> tuple[Trajectory, Rewards]:
    """Sample this process's share of an epoch's images, and have them rewarded.

    Args:
        loop: The run's loop.
        reward: What rewards.
        epoch: Counted from 0.
        prompts: One for each image of all processes.
        draw: What draws them, such as a `recorder`.

    Returns:
        How this process's images were denoised, and the rewards of the images of all processes, on the CPU.
    """
    config, model, trajectories = loop.config, loop.model, list[Trajectory]()
    queue = RewardQueue(reward, config.async_reward_computation)
    with queue, loop.progress("sampling", config.samples_per_epoch, "image") as progress:
        for batch, generators in batches(loop, epoch, prompts, config.sample_batch_size):
            trajectory = draw(model.encoded(batch), generators)
            with torch.no_grad():
                pixels = model.family.decode(trajectory.latents[:, -1])
            queue.put(pixels, batch)
            trajectories.append(trajectory)
            progress.update(len(batch))
        rewards = gathered(loop.accelerator, queue.rewards())
    return Trajectory.cat(trajectories), rewards


def passes_of_updates(
    loop: Loop[RolloutConfig], rollout: Rollout, trained_steps: Sequence[int]
) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """For each optimiser step of an epoch the passes that it takes: which images, and of each of them which step.

    Both are (B,) and on the CPU: to read them there does not wait for a GPU. An image is trained on all of its steps,
    or on a share of them.
    """
    config, process = loop.config, loop.accelerator.process_index
    with loop.progress("training", config.updates_per_epoch, "update") as progress:
        for inner_epoch in range(config.train_num_inner_epochs):
            key = (config.seed, "rows", rollout.epoch, inner_epoch, process)
            order = torch.randperm(len(rollout.indices), generator=generator(*key))
            steps = step_order(config, trained_steps, rollout.epoch, inner_epoch, rollout.indices)
            for rows in order.split(config.images_per_update):
                columns = range(steps.shape[1])
                yield [(batch, steps[batch, at]) for batch in rows.split(config.train_batch_size) for at in columns]
                progress.update()


def say_first_ratio(loop: Loop[RolloutConfig], rollout: Rollout, first: Mapping[str, Tensor]) -> None:
    """After the first update of a run print how far importance ratios were from 1, at which they should have been.

    Args:
        loop: The run's loop.
        rollout: What was trained on.
        first: Figures of this process's first update; `approx_kl` is half the mean square of the ratios' logarithms.
    """
    if rollout.epoch == 0:
        distance = (2 * loop.means([first])["approx_kl"]) ** 0.5
        loop.run.say(f"at the first update, importance ratios differed from 1 by {distance:.1e}")


def step_order(
    config: RolloutConfig, trained_steps: Sequence[int], epoch: int, inner_epoch: int, indices: Tensor
) -> Tensor:
    """Which steps each image is trained on, in which order (N, S): its own, so that a batch mixes noise levels."""
    trained = torch.tensor(trained_steps)
    count = config.steps_of_an_image(len(trained))
    generators = [generator(config.seed, "steps", epoch, inner_epoch, index) for index in indices.tolist()]
    orders = [torch.randperm(len(trained), generator=drawn)[:count] for drawn in generators]
    return trained[torch.stack(orders)]


def check_random(steps: Sequence[int], config: RolloutConfig) -> None:
    """Refuse to train the probability of steps where none has one.

    Raises:
        FergiRewardError: No step draws noise.
    """
    if not steps:
        advice = "more steps, or less noise" if config.sample_num_steps > 1 else "at least 2: the last has no noise"
        raise FergiRewardError(
            f"with sample_eta {config.sample_eta} none of sample_num_steps {config.sample_num_steps} draws noise, "
            f"so none has a probability to train: take {advice}"
        )


def check_flow(pipeline: Pipeline, schedule: Schedule) -> FlowSchedule:
    """The schedule of a pipeline that must be of flow matching.

    Raises:
        FergiRewardError: It is not.
    """
    if not isinstance(schedule, FlowSchedule):
        raise FergiRewardError(f"a {type(pipeline).__name__} is not of flow matching: train it with DDPO")
    return schedule
