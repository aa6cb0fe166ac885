"""Scoring images by the thousand: streamed, resumable, one bad image a row in `errors.csv` and nothing else lost."""
