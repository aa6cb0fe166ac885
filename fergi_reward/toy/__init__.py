"""Toys: tiny models of the real architectures, and the embedded world of emoji.

- `toys.py`: what comes with the toy models, by name.
- `tiny.py`: scorers and pipelines with small random weights; `emoji/`: a complete FERGI at toy scale.
"""
