"""Scoring images by the thousand: streamed, resumable, a bad image is listed and nothing else is lost."""
