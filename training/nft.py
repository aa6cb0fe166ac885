"""Fine-tune a flow-matching model, Stable Diffusion 3 or FLUX, with DiffusionNFT on the calibrated reward.

accelerate launch training/nft.py --config configs/nft_sd35.yaml

Options beside `--config` override the file's; `--help` explains them all.
"""

import sys
from functools import partial

from fergi_reward.cli.arguments import one_sentence_for_mistakes
from fergi_reward.cli.training_program import train_on_reward
from fergi_reward.trainers.nft import NFTConfig, NFTTrainer

main = partial(train_on_reward, NFTTrainer, NFTConfig)

if __name__ == "__main__":
    with one_sentence_for_mistakes():
        main(sys.argv[1:])
