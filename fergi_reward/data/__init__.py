"""Folders of preferences and reactions: FERGI, its simulation, those of `extract`; fetching and forgetting."""
