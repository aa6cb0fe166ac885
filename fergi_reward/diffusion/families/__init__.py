"""One file per model family: a subclass of `Family`, and the published model that stands for it in a dry run."""
