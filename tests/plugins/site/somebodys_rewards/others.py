"""A protocol, a benchmark and a backend from another package."""

import io
from dataclasses import replace

from PIL import Image

from fergi_reward.calibration import bradley_terry
from fergi_reward.evaluation.benchmarks.rankings import Benchmark, Ranking
from fergi_reward.reactions.backends.base import FaceFrame


def doubled(table, seed, *, scorers):
    """Twice the weights of bradley-terry."""
    outcome = bradley_terry.run(table, seed, scorers=scorers)
    fits = [
        replace(fit, terms=tuple(replace(term, weight=2 * term.weight) for term in fit.terms)) for fit in outcome.fits
    ]
    return replace(outcome, fits=tuple(fits))


def no_outcome(table, seed):
    """Forgets to return it."""


def greys(place):
    """People who prefer the lighter picture; of six prompts."""
    prompts = [f"prompt {number}" for number in range(6)]

    def pictures():
        for number, prompt in enumerate(prompts):
            for name, grey in (("dark", 40 + number), ("light", 200 + number)):
                file = io.BytesIO()
                Image.new("RGB", (8, 8), (grey,) * 3).save(file, "PNG")
                yield name, prompt, file.getvalue()

    rankings = [Ranking(prompt, ("dark", "light"), (2, 1)) for prompt in prompts]
    return Benchmark("greys", "Greys", str(place), "all", rankings, pictures, [], [], [], lambda judged, tuning: None)


class Lightness:
    """Measures how light a frame is."""

    source, version, action_units = "lightness", "1", ("au4",)

    def __init__(self, model="none"):
        self.model = model

    def measure(self, frames):
        for frame in frames:
            yield FaceFrame(frame.timestamp, (frame.pixels.mean() / 255,), 1.0, 0.0, 0.0, 1)
