"""What `fergi-reward evaluate models` does: python eval/models.py --model emoji --tuned LORA --prompts FILE."""

import sys

from fergi_reward.cli import main

if __name__ == "__main__":
    main(["evaluate", "models", *sys.argv[1:]])
