"""Training runs that one process and two do alike: `python sharded_runs.py full|adapter FOLDER [CHECKPOINT]`.

Several processes share the network out.
"""

import json
import sys
from pathlib import Path

from fergi_reward.callables.rewards import Rewards
from fergi_reward.toy import tiny
from fergi_reward.trainers.nft import NFTTrainer
from fergi_reward.trainers.nft_config import NFTConfig
from fergi_reward.trainers.reward_backprop import RewardBackpropTrainer
from fergi_reward.trainers.reward_backprop_config import RewardBackpropConfig
from fergi_reward.trainers.totals import launched_processes

PROMPTS = ["a red cat", "a blue dog", "a green bird on a tree", "a grey horse"]
EVERY_RUN = {
    **{"num_epochs": 2, "sample_num_steps": 2, "grid_num_images": 0, "log_with": "none", "save_freq": 1},
    # One process of two draws one of three pictures for judges.
    **{"judge_freq": 1, "judge_num_images": 3, "train_total_batch_size": 4, "gradient_checkpointing": True},
}


class Brightness:
    """The mean of one colour."""

    def __init__(self, channel):
        self.channel = channel

    def __call__(self, images, prompts):
        values = images[:, self.channel].flatten(1).mean(1)
        return Rewards(values, {f"colour{self.channel}": values})


def full(folder, **options):
    """Reward backpropagation through two steps into all weights of a Stable Diffusion 3, with an average."""
    config = RewardBackpropConfig(
        output_dir=str(folder), full_finetuning=True, ema_decay=0.9, backprop_steps_max=2, checkpoint_steps=True,
        train_learning_rate=1e-3, train_max_grad_norm=1e-3, sample_guidance_scale=2.0,
        **{**EVERY_RUN, **options},
    )  # fmt: skip
    return RewardBackpropTrainer(config, Brightness(0), tiny.stable_diffusion_3(), PROMPTS, {"judge": Brightness(1)})


def adapter(folder, **options):
    """DiffusionNFT with a KL penalty into an adapter on a Qwen-Image."""
    config = NFTConfig(
        output_dir=str(folder), sample_batch_size=1, sample_total_images=4, sample_group_size=2, train_kl_beta=0.1,
        picture_num_steps=2, train_learning_rate=1e-2, **{**EVERY_RUN, **options},
    )  # fmt: skip
    return NFTTrainer(config, Brightness(0), tiny.qwen_image(), PROMPTS, {"judge": Brightness(1)})


def kept(network):
    """Numbers that this process keeps of a network."""
    return sum(getattr(value, "_local_tensor", value).numel() for value in network.parameters())


def main(kind, folder, resumed=None):
    trainer = {"full": full, "adapter": adapter}[kind](folder, shard=launched_processes() > 1, resume_from=resumed)
    numbers = kept(trainer.model.family.network)
    Path(f"{folder}_{trainer.loop.accelerator.process_index}.json").write_text(json.dumps(numbers))
    trainer.train()


if __name__ == "__main__":
    main(*sys.argv[1:])
