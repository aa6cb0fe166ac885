"""Toys: tiny models of the real architectures, and the embedded world of emoji.

- `tiny.py`: scorers and pipelines with small random weights; `emoji/`: a complete FERGI at toy scale.
"""
