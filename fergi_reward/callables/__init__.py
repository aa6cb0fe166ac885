"""Rewards as callables, other people's too: what they are, how they are asked, what they answer."""
