"""Tuned models against their base model: from scores and distances to win rates, diversity, examples and a verdict."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.evaluation.compared_model import ComparedModel
from fergi_reward.evaluation.model_pictures import Request
from fergi_reward.evaluation.models_result import (
    Diversity,
    Example,
    ModelComparison,
    ModelsResult,
    SignalComparison,
    SignalKind,
)
from fergi_reward.evaluation.models_verdict import verdict
from fergi_reward.evaluation.run_record import Exclusion
from fergi_reward.evaluation.sentences import too_few
from fergi_reward.stats.intervals import interval
from fergi_reward.stats.one_signal import one_signal

EXAMPLES = 8


@dataclass(frozen=True)
class Signal:
    """Something that gives a picture a number, higher being better.

    Attributes:
        name: A column of the scores.
        kind: What it is.
        terms: What it must not share with a reward to be held out: its own term and those of the same function, or
            those that a calibration weighs.
    """

    name: str
    kind: SignalKind
    terms: tuple[str, ...]

    def is_held_out(self, trained_on: tuple[str, ...] | None) -> bool | None:
        """Whether a model trained on these terms was not trained on it; None where they are not known."""
        if self.kind == "judge":
            return True
        return None if trained_on is None else not set(self.terms) & set(trained_on)

    def alias_of(self, trained_on: Sequence[str]) -> str | None:
        """The term that was trained on whose function a scorer is, under another name."""
        own, *same = self.terms
        return None if own in trained_on else next((term for term in same if term in trained_on), None)


@dataclass(frozen=True)
class Measured:
    """What was measured of one model's pictures.

    Attributes:
        model: The model.
        scores: A row a request, a column a signal; NaN where the picture could not be read.
        distances: Mean pairwise distance within each prompt; NaN where there is none. None where none was measured.
    """

    model: ComparedModel
    scores: pd.DataFrame
    distances: NDArray[np.float64] | None


@dataclass(frozen=True)
class Setting:
    """What all models have in common.

    Attributes:
        prompts: What was drawn.
        requests: Every picture that each was asked for.
        samples: Pictures per prompt.
        drawing: Arguments of the pipelines' calls.
        embedder: Whose embedding the distances are of.
        seed: Seed of the pictures and the bootstrap.
        calibrations: The fingerprint of each calibration among the signals, by name; noted in the result.
        checkpoints: That of each scorer, by name; noted too.
        command: Noted too.
        notes: Noted too.
    """

    prompts: Sequence[str]
    requests: Sequence[Request]
    samples: int
    drawing: Mapping[str, float]
    embedder: str | None
    seed: int
    calibrations: Mapping[str, str] = field(default_factory=dict)
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    notes: tuple[str, ...] = ()


def compare(base: Measured, tuned: Sequence[Measured], signals: Sequence[Signal], setting: Setting) -> ModelsResult:
    """Hold every tuned model against the base model.

    Raises:
        FergiRewardError: No pair of pictures is left.
    """
    notes = [*setting.notes, *too_few(len(set(setting.prompts)), "prompt")]
    if setting.embedder is None:
        one = "one picture of a prompt, give --samples 2 or more"
        none = "no scorer here has an image embedding, add one that has, such as clip"
        notes.append(f"Diversity was not measured: {one if setting.samples < 2 else none}.")
    fingerprint = hashlib.sha256("\n".join(setting.prompts).encode()).hexdigest()
    return ModelsResult(
        base=base.model.place,
        prompts=len(setting.prompts),
        prompts_fingerprint=fingerprint,
        samples=setting.samples,
        drawing=setting.drawing,
        models=tuple(_compared(base, each, signals, setting) for each in tuned),
        exclusions=tuple(
            _unread(each, setting.requests) for each in (base, *tuned) if each.scores.isna().any(axis=None)
        ),
        notes=tuple(notes),
        command=setting.command,
        seed=setting.seed,
        calibrations=setting.calibrations,
        checkpoints=setting.checkpoints,
    )


def _unread(measured: Measured, requests: Sequence[Request]) -> Exclusion:
    missing = measured.scores.isna().any(axis=1).to_numpy()
    names = [f"{requests[row].file} ({requests[row].prompt})" for row in np.flatnonzero(missing).tolist()]
    reason = f"not scored, see {measured.model.folder}/scores.parquet.errors.csv"
    return Exclusion(len(names), f"pictures of {measured.model.name}", reason, tuple(names[:3]))


def _compared(base: Measured, tuned: Measured, signals: Sequence[Signal], setting: Setting) -> ModelComparison:
    kept = (base.scores.notna().all(axis=1) & tuned.scores.notna().all(axis=1)).to_numpy()
    if not kept.any():
        raise FergiRewardError(f"no pair of pictures of {base.model.name} and {tuned.model.name} could be scored")
    requests = [request for request, used in zip(setting.requests, kept, strict=True) if used]
    before, after = base.scores[kept], tuned.scores[kept]
    prompts = np.array([request.prompt for request in requests])
    trained_on = tuned.model.trained_on
    copies = copied_signals(before, after, signals, trained_on)
    compared = tuple(
        compare_signal(
            signal,
            signal.is_held_out(trained_on) and signal.name not in copies,
            before[signal.name].to_numpy(),
            after[signal.name].to_numpy(),
            prompts,
            setting.seed,
        )
        for signal in signals
    )
    gains_by = gain_signals(compared)
    order = np.argsort(-(gains := _gains(before, after, gains_by)), kind="stable")
    examples = [_example(requests[row], base, tuned, gains[row]) for row in order]
    diversity = _diversity(base, tuned, setting)
    return ModelComparison(
        name=tuned.model.name,
        place=tuned.model.place,
        fingerprint=tuned.model.fingerprint,
        trained_on=trained_on,
        copies=copies,
        learned_from=tuned.model.card.learned_from if tuned.model.card else None,
        signals=compared,
        diversity=diversity,
        best=tuple(one for one in examples if one.gain > 0)[:EXAMPLES],
        worst=tuple(one for one in reversed(examples) if one.gain < 0)[:EXAMPLES],
        gains_by=gains_by,
        verdict=verdict(
            tuned.model.name, compared, len(set(prompts)), trained_on, diversity, is_base=before.equals(after)
        ),
    )


def copied_signals(
    base: pd.DataFrame, tuned: pd.DataFrame, signals: Sequence[Signal], trained_on: tuple[str, ...] | None
) -> dict[str, str]:
    """The signals that are one that was trained on, or give what it gives, by its name: they are not held out.

    Args:
        base: Scores of the base model's pictures.
        tuned: Scores of the tuned model's, by which the two must agree as well.
        signals: All of them.
        trained_on: Terms of the reward; None where nothing says.
    """
    learned = [one.name for one in signals if one.kind == "scorer" and one.is_held_out(trained_on) is False]
    found = {one.name: one.alias_of(trained_on or ()) for one in signals if one.kind == "scorer"}
    return {name: other for name, other in found.items() if other} | {
        signal.name: name
        for signal in signals
        for name in reversed(learned)
        if signal.is_held_out(trained_on)
        and all(one_signal(scores[signal.name].to_numpy(), scores[name].to_numpy()) for scores in (base, tuned))
    }


def compare_signal(
    signal: Signal,
    held_out: bool | None,
    base: NDArray[np.float64],
    tuned: NDArray[np.float64],
    prompts: NDArray[np.str_],
    seed: int,
) -> SignalComparison:
    """Win rate, mean difference and standardised difference of pictures from the same prompts and seeds.

    Args:
        signal: What gave the numbers.
        held_out: Whether the tuned model was not trained on it.
        base: Scores of the base model's pictures, (P,).
        tuned: Scores of the tuned model's, (P,).
        prompts: The prompt of each, which the bootstrap draws, (P,).
        seed: Seed of the bootstrap.
    """
    differences = tuned - base
    halves = (np.sign(differences) + 1) / 2
    spread = base.std(ddof=1) if len(base) > 1 else 0.0
    return SignalComparison(
        signal=signal.name,
        kind=signal.kind,
        held_out=held_out,
        base=float(base.mean()),
        tuned=float(tuned.mean()),
        pairs=len(base),
        wins=int((differences > 0).sum()),
        ties=int((differences == 0).sum()),
        win_rate=float(halves.mean()),
        win_rate_ci95=interval(halves, prompts, seed),
        difference=float(differences.mean()),
        difference_ci95=interval(differences, prompts, seed),
        standardised=float(differences.mean() / spread) if spread > 0 else None,
    )


def gain_signals(compared: Sequence[SignalComparison]) -> tuple[str, ...]:
    """The signals that say which examples are best: held-out scorers and judges, or all where none is held out."""
    usable = [one for one in compared if not one.is_sum]
    return tuple(one.signal for one in usable if one.held_out) or tuple(one.signal for one in usable)


def _gains(before: pd.DataFrame, after: pd.DataFrame, names: Sequence[str]) -> NDArray[np.float64]:
    """Mean over the signals of the difference in standard deviations of the base's pictures, (P,)."""
    columns = list(names)
    spread = before[columns].std(ddof=1).fillna(1).replace(0, 1)  # of a single picture there is none
    return np.asarray(((after[columns] - before[columns]) / spread).mean(axis=1), dtype=np.float64)


def _example(request: Request, base: Measured, tuned: Measured, gain: float) -> Example:
    before, after = (f"{each.model.folder}/pictures/{request.file}" for each in (base, tuned))
    side_by_side = f"{tuned.model.folder}/examples/{Path(request.file).stem}.jpg"
    return Example(request.prompt, request.seed, before, after, side_by_side, float(gain))


def _diversity(base: Measured, tuned: Measured, setting: Setting) -> Diversity | None:
    if setting.embedder is None or base.distances is None or tuned.distances is None:
        return None
    kept = np.isfinite(base.distances) & np.isfinite(tuned.distances)
    if not kept.any():
        return None
    before, after = base.distances[kept], tuned.distances[kept]
    return Diversity(
        scorer=setting.embedder,
        prompts=int(kept.sum()),
        base=float(before.mean()),
        tuned=float(after.mean()),
        difference=float((after - before).mean()),
        ci95=interval(after - before, np.array(setting.prompts)[kept], setting.seed),
    )
