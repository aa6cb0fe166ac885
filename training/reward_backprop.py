"""Fine-tune Stable Diffusion by the gradient of the calibrated reward: DRaFT, AlignProp or ReFL.

accelerate launch training/reward_backprop.py --config configs/draft1_sd15.yaml

Options beside `--config` override the file's; `--help` explains them all.
"""

import sys
from functools import partial

from fergi_reward.cli.arguments import one_sentence_for_mistakes
from fergi_reward.cli.training_program import train_on_reward
from fergi_reward.trainers.reward_backprop import RewardBackpropConfig, RewardBackpropTrainer

main = partial(train_on_reward, RewardBackpropTrainer, RewardBackpropConfig)

if __name__ == "__main__":
    with one_sentence_for_mistakes():
        main(sys.argv[1:])
