"""What `fergi-reward evaluate preferences` does: python eval/preferences.py --dataset fergi --out runs/preferences."""

import sys

from fergi_reward.cli import main

if __name__ == "__main__":
    main(["evaluate", "preferences", *sys.argv[1:]])
