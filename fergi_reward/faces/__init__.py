"""The reaction predictor: the AU4 valence that a picture would meet with, where no viewer looks."""
