"""What the trainers that draw their own pictures and follow a reward share."""

from collections.abc import Iterator, Mapping, Sequence

import torch

from fergi_reward.callables.rewards import Reward, Rewards
from fergi_reward.core.seeds import generator
from fergi_reward.diffusion.pipelines import Pipeline
from fergi_reward.diffusion.samples import draw_prompts
from fergi_reward.trainers.trainer import Config, Trainer


class OnlineTrainer(Trainer[Config]):
    """A trainer that draws, asks a reward, and learns from the answer. See `Trainer` for the rest.

    Args:
        config: The options.
        reward: Any callable from pixels and prompts to rewards.
        pipeline: What is trained.
        prompts: What to sample from.
        judges: By name, rewards that are not trained on.
    """

    reward: Reward
    learns_from = "reward"

    def __init__(
        self,
        config: Config,
        reward: Reward,
        pipeline: Pipeline,
        prompts: Sequence[str],
        judges: Mapping[str, Reward] | None = None,
    ) -> None:
        super().__init__(config, pipeline, prompts, judges, reward)

    def summary(self, metrics: Mapping[str, float]) -> str:
        """The reward, and the loss."""
        reward, spread, loss = (metrics[name] for name in ("reward_mean", "reward_std", "loss"))
        return f"reward {reward:.4f} (std {spread:.4f}), loss {loss:.3g}"

    @property
    def share(self) -> range:
        """The numbers of this process's images among the N of all processes, the same in every epoch."""
        count = self.config.samples_per_epoch
        return range(self.accelerator.process_index * count, (self.accelerator.process_index + 1) * count)

    def epoch_prompts(self, epoch: int) -> list[str]:
        """The prompts of the N images that all processes draw in an epoch."""
        total = self.config.samples_per_epoch * self.accelerator.num_processes
        return draw_prompts(self.prompts, total, generator(self.config.seed, "prompts", epoch))

    def keep_encoded(self, prompts: Sequence[str]) -> None:
        """Encode what this process draws of an epoch's N prompts, in place of the last epoch's."""
        self.encoded.keep("epoch", [prompts[index] for index in self.share])

    def batches(
        self, epoch: int, prompts: Sequence[str], size: int
    ) -> Iterator[tuple[list[str], list[torch.Generator]]]:
        """This process's share, batch by batch: prompts, and for each image the generator of its noise.

        Args:
            epoch: Counted from 0.
            prompts: N of them, of all processes.
            size: Images in a batch.
        """
        for start in range(self.share.start, self.share.stop, size):
            indices = range(start, start + size)
            generators = [generator(self.config.seed, "noise", epoch, index) for index in indices]
            yield [prompts[index] for index in indices], generators

    def gathered(self, rewards: Rewards) -> Rewards:
        """The rewards of all processes, on the CPU, where they are compared one by one."""
        terms = {name: self.accelerator.gather(term).cpu() for name, term in rewards.terms.items()}
        return Rewards(self.accelerator.gather(rewards.total).cpu(), terms)
