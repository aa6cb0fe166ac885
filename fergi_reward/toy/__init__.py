"""Toys: tiny models of the real architectures, and the embedded world of emoji."""
