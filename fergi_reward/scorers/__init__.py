"""Scorers: models that say how much people like an image made for a prompt, equal to the packages they come from."""
