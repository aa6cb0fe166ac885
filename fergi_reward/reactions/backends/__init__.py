"""What can measure action units in a video: one file a backend."""
