"""`python -m fergi_reward`, which is also what `torchrun -m` needs."""

from fergi_reward.cli import main

main()
