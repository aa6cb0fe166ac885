"""Is the predictor better than chance? What it says of viewers and prompts that it was not fitted on."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.progress import Progress
from fergi_reward.faces.fitting import FEWEST_VIEWERS, fit_heads
from fergi_reward.faces.viewings import Viewings
from fergi_reward.stats.held_out import HeldOut, evaluate_held_out

FOLDS = 5
LEVELS = (0.5, 0.8, 0.95)

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class HeldOutFigures:
    """How fits did on viewers and prompts that they had not seen.

    Attributes:
        images: Pictures that were predicted.
        correct: Pairs of a session in the order of the viewer's valences.
        pairs: Pairs of a session whose valences differ.
        accuracy: correct / pairs; a tie in the prediction is wrong.
        ci95: Its interval, by bootstrap over viewers.
        rank_correlation: Spearman's, of predicted and observed valences.
        coverage: For the intervals of 50, 80 and 95 %, the share of observed valences within them.
    """

    images: int
    correct: int
    pairs: int
    accuracy: float
    ci95: tuple[float, float]
    rank_correlation: float
    coverage: tuple[float, ...]

    @property
    def better_than_chance(self) -> bool:
        """Whether the interval of the accuracy lies above a half."""
        return self.ci95[0] > 0.5


@dataclass(frozen=True)
class Residuals:
    """How far one viewer's valence lies from the prediction: what an interval for it is made of.

    Attributes:
        noise: Root mean square of observed less predicted valences.
        quantiles: Quantiles of these over `spread`: the bounds of the middle 50, 80 and 95 %.
    """

    noise: float
    quantiles: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, residuals: Floats, uncertainty: Floats) -> "Residuals":
        """From held-out residuals and the uncertainties predicted with them, (N,) each."""
        noise = float(np.sqrt(np.square(residuals).mean()))
        standardised = residuals / np.hypot(noise, uncertainty)
        bounds = [np.quantile(standardised, [(1 - level) / 2, (1 + level) / 2]).tolist() for level in LEVELS]
        return cls(noise, tuple((low, high) for low, high in bounds))

    def within(self, residuals: Floats, uncertainty: Floats) -> list[Mask]:
        """For the intervals of 50, 80 and 95 %, which residuals (N,) lie in them."""
        standardised = residuals / np.hypot(self.noise, uncertainty)
        return [(standardised >= low) & (standardised <= high) for low, high in self.quantiles]


@dataclass(frozen=True)
class CrossPredicted:
    """Predictions of held-out rows, and the fold that each was held out in; (N,) each."""

    mean: Floats
    uncertainty: Floats
    observed: Floats
    users: NDArray[np.str_]
    sessions: NDArray[np.int64]
    folds: NDArray[np.int64]


def cross_predict(viewings: Viewings, seed: int, bar: Progress) -> CrossPredicted:
    """Predict the held-out part of each fold by heads that were fitted on its other part."""
    parts = []
    for fold, (training, held_out) in enumerate(folds(viewings, seed)):
        heads, part = fit_heads(viewings.where(training), seed, bar), viewings.where(held_out)
        with torch.no_grad():
            predicted = heads(part.images, part.texts)
        numbers = (predicted.mean, predicted.uncertainty, part.valences)
        columns = [number.double().numpy() for number in numbers]
        parts.append((*columns, part.users, part.sessions, np.full(len(part), fold)))
    return CrossPredicted(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def folds(viewings: Viewings, seed: int) -> Iterator[tuple[Mask, Mask]]:
    """Training and held-out rows, which share neither viewers nor prompts; every viewer is held out once.

    Of the prompts that viewers of both sides saw, a third is held out; on the other side its pictures are left out.
    """
    rng = np.random.default_rng(seed)
    names, viewer = np.unique(viewings.users, return_inverse=True)
    if len(names) < FEWEST_VIEWERS + 1:
        raise FergiRewardError(f"judging a predictor needs at least {FEWEST_VIEWERS + 1} viewers, got {len(names)}")
    count = min(FOLDS, len(names))
    fold_of = rng.permutation(len(names)) % count
    for fold in range(count):
        apart = fold_of[viewer] == fold
        shared = np.intersect1d(viewings.prompts[apart], viewings.prompts[~apart])
        held_out, of_training = np.split(rng.permutation(shared), [-(-len(shared) // 3)])
        yield ~apart & ~np.isin(viewings.prompts, held_out), apart & ~np.isin(viewings.prompts, of_training)


def figures(predicted: CrossPredicted, seed: int) -> HeldOutFigures:
    """Judge the predictions; intervals of a fold come from the residuals of the other folds.

    Raises:
        FergiRewardError: No viewer met two pictures of a session with different faces.
    """
    from scipy.stats import spearmanr

    pairs = held_out_pairs(predicted)
    if not len(pairs.margins):
        raise FergiRewardError("no two held-out pictures of a session met with different faces: nothing can be judged")
    result = evaluate_held_out(pairs, seed)
    constant = np.ptp(predicted.mean) == 0 or np.ptp(predicted.observed) == 0
    return HeldOutFigures(
        images=len(predicted.mean),
        correct=result.correct,
        pairs=result.pairs,
        accuracy=result.accuracy,
        ci95=result.ci95,
        rank_correlation=0.0 if constant else float(spearmanr(predicted.mean, predicted.observed).statistic),
        coverage=coverage(predicted),
    )


def held_out_pairs(predicted: CrossPredicted) -> HeldOut:
    """All pairs of a session whose observed valences differ; a margin above 0 is right."""
    better, worse = [], []
    for session in np.unique(predicted.sessions):
        rows = np.flatnonzero(predicted.sessions == session)
        above = predicted.observed[rows, None] > predicted.observed[None, rows]
        one, other = np.nonzero(above)
        better.append(rows[one])
        worse.append(rows[other])
    first, second = np.concatenate(better), np.concatenate(worse)
    return HeldOut("predictor", predicted.mean[first] - predicted.mean[second], predicted.users[first])


def coverage(predicted: CrossPredicted) -> tuple[float, ...]:
    """The share of observed valences in the intervals of 50, 80 and 95 %."""
    residuals = predicted.observed - predicted.mean
    within = np.zeros((len(LEVELS), len(residuals)), dtype=bool)
    for fold in np.unique(predicted.folds):
        rows = predicted.folds == fold
        others = Residuals.of(residuals[~rows], predicted.uncertainty[~rows])
        within[:, rows] = others.within(residuals[rows], predicted.uncertainty[rows])
    return tuple(within.mean(axis=1).tolist())
