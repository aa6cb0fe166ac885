"""Fine-tune Stable Diffusion with DDPO on the calibrated reward.

python training/ddpo.py --config ddpo_sd15

It is `fergi-reward train ddpo`; `--help` explains the options.
"""

import sys

from fergi_reward.cli.app import main

if __name__ == "__main__":
    main(["train", "ddpo", *sys.argv[1:]])
