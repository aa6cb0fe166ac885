"""Which images of an epoch each process draws for training: from which prompts, and from which noise."""

from collections.abc import Iterator, Mapping, Sequence

import torch

from fergi_reward.core.seeds import generator
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.loop import Loop


def share(loop: Loop[TrainerConfig]) -> range:
    """The numbers of this process's images among the N of all processes, the same in every epoch."""
    count = loop.config.samples_per_epoch
    return range(loop.accelerator.process_index * count, (loop.accelerator.process_index + 1) * count)


def epoch_prompts(loop: Loop[TrainerConfig], epoch: int, group_size: int = 1) -> list[str]:
    """The prompts of the N images that all processes draw in an epoch, in groups of one prompt behind each other."""
    groups = loop.config.samples_per_epoch * loop.accelerator.num_processes // group_size
    drawn = draw_prompts(loop.prompts, groups, generator(loop.config.seed, "prompts", epoch))
    return [prompt for prompt in drawn for _ in range(group_size)]


def draw_prompts(prompts: Sequence[str], count: int, generator: torch.Generator) -> list[str]:
    """`count` prompts, drawn uniformly with replacement.

    Example:
        >>> draw_prompts(["a cat"], 2, torch.Generator())
        ['a cat', 'a cat']
    """
    return [prompts[index] for index in torch.randint(len(prompts), (count,), generator=generator)]


def batches(
    loop: Loop[TrainerConfig], epoch: int, prompts: Sequence[str], size: int
) -> Iterator[tuple[list[str], list[torch.Generator]]]:
    """This process's share, batch by batch: prompts, and for each image the generator of its noise.

    Args:
        loop: The run's loop; its model keeps these prompts encoded, in place of the last epoch's.
        epoch: Counted from 0.
        prompts: N of them, of all processes.
        size: Images in a batch.
    """
    mine, seed = share(loop), loop.config.seed
    loop.model.encoded.keep("epoch", [prompts[index] for index in mine])
    for start in range(mine.start, mine.stop, size):
        indices = range(start, start + size)
        generators = [generator(seed, "noise", epoch, index) for index in indices]
        yield [prompts[index] for index in indices], generators


def reward_summary(metrics: Mapping[str, float]) -> str:
    """The reward and the loss, for an epoch's line in the terminal."""
    reward, spread, loss = (metrics[name] for name in ("reward_mean", "reward_std", "loss"))
    return f"reward {reward:.4f} (std {spread:.4f}), loss {loss:.3g}"
