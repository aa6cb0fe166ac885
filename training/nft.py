"""Fine-tune a flow-matching model, Stable Diffusion 3 or FLUX, with DiffusionNFT on the calibrated reward.

python training/nft.py --config nft_sd35

It is `fergi-reward train nft`; `--help` explains the options.
"""

import sys

from fergi_reward.cli.app import main

if __name__ == "__main__":
    main(["train", "nft", *sys.argv[1:]])
