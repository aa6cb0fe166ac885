"""Fine-tune a flow-matching model, Stable Diffusion 3 or FLUX, with Flow-GRPO on the calibrated reward.

python training/flow_grpo.py --config flow_grpo_sd35

It is `fergi-reward train flow_grpo`; `--help` explains the options.
"""

import sys

from fergi_reward.cli.app import main

if __name__ == "__main__":
    main(["train", "flow_grpo", *sys.argv[1:]])
