"""Fine-tune Stable Diffusion by the gradient of the calibrated reward: DRaFT, AlignProp or ReFL.

python training/reward_backprop.py --config draft1_sd15

It is `fergi-reward train reward_backprop`; `--help` explains the options.
"""

import sys

from fergi_reward.cli.app import main

if __name__ == "__main__":
    main(["train", "reward_backprop", *sys.argv[1:]])
