"""Fine-tune a flow-matching model, Stable Diffusion 3 or FLUX, with Flow-GRPO on the calibrated reward.

accelerate launch training/flow_grpo.py --config configs/flow_grpo_sd35.yaml

Options beside `--config` override the file's; `--help` explains them all.
"""

import sys
from functools import partial

from fergi_reward.cli.arguments import one_sentence_for_mistakes
from fergi_reward.cli.training_program import train_on_reward
from fergi_reward.trainers.flow_grpo import FlowGRPOConfig, FlowGRPOTrainer

main = partial(train_on_reward, FlowGRPOTrainer, FlowGRPOConfig)

if __name__ == "__main__":
    with one_sentence_for_mistakes():
        main(sys.argv[1:])
