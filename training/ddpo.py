"""Fine-tune Stable Diffusion with DDPO on the calibrated reward.

accelerate launch training/ddpo.py --config configs/ddpo_sd15.yaml

Options beside `--config` override the file's; `--help` explains them all.
"""

import sys
from functools import partial

from fergi_reward.cli.arguments import one_sentence_for_mistakes
from fergi_reward.cli.training_program import train_on_reward
from fergi_reward.trainers.ddpo import DDPOConfig, DDPOTrainer

main = partial(train_on_reward, DDPOTrainer, DDPOConfig)

if __name__ == "__main__":
    with one_sentence_for_mistakes():
        main(sys.argv[1:])
