"""Fine-tune Stable Diffusion on preference pairs with Diffusion-DPO.

python training/diffusion_dpo.py --config diffusion_dpo_sd15

It is `fergi-reward train diffusion_dpo`; `--help` explains the options.
"""

import sys

from fergi_reward.cli.app import main

if __name__ == "__main__":
    main(["train", "diffusion_dpo", *sys.argv[1:]])
