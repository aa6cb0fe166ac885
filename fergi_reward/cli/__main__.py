"""`python -m fergi_reward.cli`."""

from fergi_reward.cli import main

if __name__ == "__main__":
    main()
