"""Train a language model to rewrite prompts with GRPO, on the calibrated reward of the pictures that they lead to.

python training/prompt_grpo.py --config prompt_grpo_qwen_sd15

It is `fergi-reward train prompt_grpo`; `--help` explains the options.
"""

import sys

from fergi_reward.cli.app import main

if __name__ == "__main__":
    main(["train", "prompt_grpo", *sys.argv[1:]])
