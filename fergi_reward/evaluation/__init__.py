"""Evaluation: how often rewards agree with people, with everything needed to trust the figure."""
