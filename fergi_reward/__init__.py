"""Reward models for fine-tuning text-to-image models, with a term for the viewer's face."""

__version__ = "0.1.0"
