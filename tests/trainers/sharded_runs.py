"""Training runs that one process and two do alike: `python sharded_runs.py FOLDER` in several does all of them.

Several processes share the networks out.
"""

import json
import sys
from pathlib import Path

import numpy as np
from accelerate.state import AcceleratorState, PartialState
from PIL import Image

from fergi_reward.callables.rewards import Rewards
from fergi_reward.toy import tiny
from fergi_reward.trainers.diffusion_dpo import DiffusionDPOConfig, DiffusionDPOTrainer
from fergi_reward.trainers.nft import NFTTrainer
from fergi_reward.trainers.nft_config import NFTConfig
from fergi_reward.trainers.pairs import PairTable
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

    def weights_digest(self):
        """The same where this file is a program and where it is imported."""
        return f"brightness {self.channel}"


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
        picture_num_steps=2, train_learning_rate=1e-2, **{**EVERY_RUN, "grid_num_images": 1, **options},
    )  # fmt: skip
    return NFTTrainer(config, Brightness(0), tiny.qwen_image(), PROMPTS, {"judge": Brightness(1)})


def pairs(folder, **options):
    """Diffusion-DPO into an adapter on a UNet; of two processes one measures one of three held-out pairs."""
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)) for _ in range(8)]
    rows = zip(PROMPTS, pictures[::2], pictures[1::2], strict=True)
    table = [{"caption": text, "jpg_0": one, "jpg_1": other, "label_0": 1} for text, one, other in rows]
    config = DiffusionDPOConfig(
        output_dir=str(folder), train_updates_per_epoch=1, held_out_freq=1, beta=50.0, train_learning_rate=1e-2,
        **{**EVERY_RUN, **options},
    )  # fmt: skip
    learned, measured = PairTable(table, "learned"), PairTable(table[1:], "measured")
    return DiffusionDPOTrainer(config, learned, tiny.stable_diffusion(), PROMPTS, None, measured)


def train(kind, folder, resumed=None):
    """One run, shared out if there are several processes."""
    trainer = kind(folder, shard=launched_processes() > 1, resume_from=resumed and str(resumed))
    trainer.train()
    AcceleratorState._reset_state()
    return trainer


def main(folder):
    PartialState.destroy_process_group = lambda *_: None  # the end of a run would end the processes' group
    folder = Path(folder)
    whole = train(full, folder / "full")
    numbers = sum(value._local_tensor.numel() for value in whole.model.parameters)
    (folder / f"kept_{PartialState().process_index}.json").write_text(json.dumps(numbers))
    train(full, folder / "resumed", folder / "full/checkpoints/epoch_0001")
    train(adapter, folder / "adapter")
    train(pairs, folder / "pairs")


if __name__ == "__main__":
    main(sys.argv[1])
