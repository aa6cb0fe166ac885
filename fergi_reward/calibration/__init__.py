"""Fitting the weights of the reward to preferences, and saying honestly how well they do."""
