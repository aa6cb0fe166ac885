"""Fine-tune a flow-matching model, Stable Diffusion 3 or FLUX, with Flow-GRPO or DiffusionNFT on the calibrated reward.

accelerate launch training/flow_grpo.py --config configs/flow_grpo_sd35.yaml

Options beside `--config` override the file's; `--help` explains them all.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from fergi_reward.trainers.arguments import one_sentence_for_mistakes, parse_arguments
from fergi_reward.trainers.flow_grpo import FlowGRPOConfig, FlowGRPOTrainer
from fergi_reward.trainers.samples import read_prompts
from fergi_reward.training_program import ScriptArguments, load_judges, load_pipeline, load_reward, rehearse


def main(arguments: Sequence[str]) -> None:
    """Build a pipeline, a reward, a trainer, and run it."""
    script, config = parse_arguments([ScriptArguments, FlowGRPOConfig], arguments)
    prompts = read_prompts(Path(script.prompts))
    if script.dry_run:
        print(rehearse(script, config))
        return
    reward = load_reward(script)
    judges = load_judges(script, reward)
    FlowGRPOTrainer(config, reward, load_pipeline(script.model), prompts, judges).train()


if __name__ == "__main__":
    with one_sentence_for_mistakes():
        main(sys.argv[1:])
