"""From a face to a reaction: clips, activations and the valence of action unit 4."""
