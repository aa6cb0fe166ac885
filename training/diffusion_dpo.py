"""Fine-tune Stable Diffusion on preference pairs with Diffusion-DPO.

accelerate launch training/diffusion_dpo.py --config configs/diffusion_dpo_sd15.yaml

Options beside `--config` override the file's; `--help` explains them all.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from fergi_reward.cli.arguments import one_sentence_for_mistakes, parse_arguments
from fergi_reward.cli.training_program import PairArguments, check_offload, load_judges, rehearse
from fergi_reward.core.terminal import for_terminal
from fergi_reward.diffusion.load import load_pipeline
from fergi_reward.files.prompts import read_prompts
from fergi_reward.trainers.diffusion_dpo import DiffusionDPOConfig, DiffusionDPOTrainer
from fergi_reward.trainers.pairs import load_table
from fergi_reward.trainers.preflight import check_can_start
from fergi_reward.trainers.run import check_output


def main(arguments: Sequence[str]) -> None:
    """Build a pipeline, pairs, a trainer, and run it."""
    script, config = parse_arguments([PairArguments, DiffusionDPOConfig], arguments)
    check_offload(script, config)
    prompts = read_prompts(Path(script.prompts))
    if script.dry_run:
        print(for_terminal(str(rehearse(script, config))))
        return
    check_can_start(config)
    check_output(config)
    pairs = load_table(script.pairs, split=script.pairs_split, streaming=script.streaming)
    held_out = load_table(script.held_out, split=script.held_out_split, streaming=True) if script.held_out else None
    judges = load_judges(script, None)
    DiffusionDPOTrainer(config, pairs, load_pipeline(script.model), prompts, judges, held_out).train()


if __name__ == "__main__":
    with one_sentence_for_mistakes():
        main(sys.argv[1:])
