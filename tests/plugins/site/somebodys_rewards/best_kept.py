"""A trainer that keeps the best-rewarded image of each batch and learns to draw it (RAFT, arXiv 2304.06767)."""

from collections import Counter
from dataclasses import dataclass

import torch

from fergi_reward.callables.rewards import evaluate
from fergi_reward.core.seeds import generator
from fergi_reward.diffusion.family import family_of
from fergi_reward.trainers.config import TrainerConfig, option
from fergi_reward.trainers.loop import Loop
from fergi_reward.trainers.shares import batches, epoch_prompts, reward_summary


@dataclass(frozen=True)
class BestKeptConfig(TrainerConfig):
    """Its options."""

    noises: int = option(2, "Noises for the image that is kept.", at_least=1)


class Kept:
    """How often each image of a batch was kept."""

    def __init__(self):
        self.counts = Counter()

    def state_dict(self):
        return dict(self.counts)

    def load_state_dict(self, state, changed):
        self.counts = Counter(state)


class BestKeptTrainer:
    """Draw, keep the best, learn to draw it."""

    config_class, learns_from = BestKeptConfig, "reward"

    def __init__(self, config, reward, pipeline, prompts, judges=None):
        self.config, self.reward, self.kept = config, reward, Kept()
        self.loop = Loop("BestKeptTrainer", config, pipeline, prompts, judges, reward=reward)
        self.noise_levels = family_of(pipeline).training_schedule(self.loop.accelerator.device)

    def train(self):
        return self.loop.run_epochs(self.epoch, reward_summary, {"kept": self.kept})

    def epoch(self, epoch):
        prompts, rewards = epoch_prompts(self.loop, epoch), []
        update = self.loop.update(self.losses(epoch, prompts, rewards), self.config.train_gradient_accumulation_steps)
        total = torch.cat(rewards)
        return self.loop.means([update]) | {"reward_mean": total.mean().item(), "reward_std": total.std().item()}

    def losses(self, epoch, prompts, rewards):
        for batch, generators in batches(self.loop, epoch, prompts, self.config.train_batch_size):
            pixels = self.loop.model.draw(batch, generators)
            rewards.append(evaluate(self.reward, pixels, batch).total)
            best = int(rewards[-1].argmax())
            self.kept.counts[best] += 1
            yield self.loss(pixels[best : best + 1], batch[best], epoch), {}

    def loss(self, pixels, prompt, epoch):
        drawn = generator(self.config.seed, "best kept", epoch)
        model, levels, count = self.loop.model, self.noise_levels, self.config.noises
        latents = family_of(model.pipeline).encode_pictures(pixels).expand(count, -1, -1, -1)
        noise = torch.randn(latents.shape, generator=drawn).to(latents)
        steps = torch.tensor([levels.random_step(drawn) for _ in range(count)], device=latents.device)
        noised, target = levels.noised(latents, noise, steps), levels.target(latents, noise, steps)
        prediction = model.network(noised, levels.timesteps[steps], model.encoded([prompt] * count))
        return ((prediction - target) ** 2).mean()


class ClumsyTrainer(BestKeptTrainer):
    """Breaks in its first epoch."""

    def epoch(self, epoch):
        return {"reward_mean": 1 / epoch}
