"""`python -m fergi_reward`, which is also what `accelerate launch -m` needs."""

from fergi_reward.cli import main

main()
