"""A benchmark of pictures: the margins of scorers, and of calibrations that weigh them."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fergi_reward.bulk.options import ScoringOptions
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.pair_sketch import Overlap, pair_hashes
from fergi_reward.evaluation.benchmarks.rankings import Benchmark, exclusion
from fergi_reward.evaluation.margins import AllMargins, ModelMargins
from fergi_reward.evaluation.picture_scores import picture_scores
from fergi_reward.evaluation.preferences_result import Data, Seen
from fergi_reward.evaluation.ranked_pairs import RankedPairs, ranked_pairs
from fergi_reward.evaluation.run_record import Exclusion
from fergi_reward.evaluation.seen_pairs import seen_pairs
from fergi_reward.evaluation.totals import rewards_of, totals_of
from fergi_reward.scorers.registry import term_name
from fergi_reward.stats.held_out import HeldOut


def benchmark_margins(
    benchmark: Benchmark, options: ScoringOptions, calibrations: Mapping[str, Calibration], out: Path
) -> AllMargins | None:
    """The margins on a benchmark's pairs.

    Args:
        benchmark: The rankings and pictures.
        options: Which scorers, and how they are run.
        calibrations: By the name that reports give them.
        out: A folder for the scores of all pictures, or with them.

    Returns:
        None on all processes but the first.

    Raises:
        FergiRewardError: A scorer cannot be loaded, a calibration lacks a fit, or no pair is left.
    """
    terms = [term_name(name) for name in options.scorer_names]
    rewards = rewards_of(calibrations, terms)  # a missing fit shows before gigabytes are loaded
    scores = picture_scores(benchmark, options, calibrations, out)
    if scores is None:
        return None
    scored = scores.notna().all(axis=1).to_numpy()
    ranked, tuning = (ranked_pairs(benchmark, part, scored) for part in (benchmark.rankings, benchmark.tuning))
    exclusions = [*benchmark.exclusions, *_exclusions(benchmark, ranked, scored)]
    if not len(ranked.pairs):
        counts = "; ".join(f"{each.count} {each.what}: {each.reason}" for each in exclusions)
        raise FergiRewardError(f"{benchmark.title} in {benchmark.place} has no pair that counts ({counts})")

    judged = partial(_judged, benchmark, ranked, tuning)
    published = {figure.model: figure.accuracy for figure in benchmark.published}
    by_term = scores.set_axis(terms, axis="columns")
    models = [
        judged(name, "scorer", by_term[term].to_numpy(), published.get(term))
        for name, term in zip(options.scorer_names, terms, strict=True)
    ]
    hashes, notes = hashes_of(benchmark, ranked), list[str]()
    for name, reward in rewards.items():
        calibration = calibrations[name]
        found = judged(name, "calibration", totals_of(reward, by_term), None, calibration.protocol == "bradley-terry")
        seen, overlap, remark = _seen(name, calibration, hashes)
        models.append(replace(found, seen=seen, overlap=overlap))
        notes += [remark] if remark else []
    notes += [f"{name} weighs none of the scorers: it is not judged." for name in calibrations if name not in rewards]
    return AllMargins(_data(benchmark, ranked), models, exclusions, benchmark.published, benchmark.protocol, notes)


def _judged(
    benchmark: Benchmark,
    ranked: RankedPairs,
    tuning: RankedPairs,
    name: str,
    kind: Literal["scorer", "calibration"],
    values: NDArray[np.float64],
    published: float | None,
    is_log_odds: bool = False,
) -> ModelMargins:
    """The margins of a model, from its value for each row."""
    found = ranked.judged(values)
    held_out = HeldOut(name, found.margins, found.units, is_log_odds)
    return ModelMargins(held_out, kind, "nothing", benchmark.as_published(found, tuning.judged(values)), published)


def hashes_of(benchmark: Benchmark, ranked: RankedPairs) -> NDArray[np.uint64]:
    """A hash of each pair."""
    pictures = ((prompt, image) for image, prompt in benchmark.numbers)
    return pair_hashes(pictures, ranked.pairs.better.tolist(), ranked.pairs.worse.tolist())


def _seen(name: str, calibration: Calibration, hashes: NDArray[np.uint64]) -> tuple[Seen, Overlap | None, str | None]:
    """What a calibration has seen of the pairs; viewers' faces were at pictures of no benchmark."""
    if "participants" in calibration.dataset:
        return "nothing", None, None
    return seen_pairs(name, calibration, hashes)


def _exclusions(benchmark: Benchmark, ranked: RankedPairs, scored: NDArray[np.bool_]) -> list[Exclusion]:
    """Pictures that could not be scored, the pairs lost with them, and ties."""
    names = [image for (image, _), number in benchmark.numbers.items() if not scored[number]]
    found = [exclusion("pictures", "missing or unreadable, see scores.parquet.errors.csv", names)] if names else []
    if ranked.lost:
        found.append(Exclusion(ranked.lost, "pairs", "with such a picture"))
    if len(ranked.tied):
        found.append(Exclusion(len(ranked.tied), "pairs", "ranked equal"))
    return found


def _data(benchmark: Benchmark, ranked: RankedPairs) -> Data:
    pairs, keys = ranked.pairs, list(benchmark.numbers)
    named = sorted(f"{keys[one]}\t{keys[other]}" for one, other in zip(pairs.better, pairs.worse, strict=True))
    return Data(
        name=benchmark.name,
        title=benchmark.title,
        place=benchmark.place,
        split=benchmark.split,
        unit="prompt",
        units=len(set(pairs.users)),
        images=len(np.union1d(pairs.better, pairs.worse)),
        pairs=len(pairs),
        fingerprint=hashlib.sha256("\n".join(named).encode()).hexdigest(),
    )
