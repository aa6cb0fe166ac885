"""`fergi-reward score`: from options to a table of scores, on one process or several."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from fergi_reward.bulk.batch_scores import BatchScores
from fergi_reward.bulk.job import load_batch_scores, owned_by_one_run, score_into, this_process
from fergi_reward.bulk.manifest import Row, counted_rows, folder_rows, read_manifest
from fergi_reward.bulk.options import ScoreOptions
from fergi_reward.bulk.results import Further, Outcome
from fergi_reward.bulk.scoring import Engine, Share, in_this_process
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.calibration.options import SHIPPED
from fergi_reward.calibration.scored_by import warn_of_other_scorers
from fergi_reward.files.csv_files import warn_if_cut
from fergi_reward.files.prompts import read_prompts
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.registry import term_name


def run(options: ScoreOptions) -> Outcome | None:
    """Score everything that is left, and write the table when all of it is there.

    Returns:
        How many images were scored and how many could not be; None on all processes but the first.

    Raises:
        FergiRewardError: An option, the manifest, a checkpoint or the calibration cannot be used.
    """
    weights = _weights(options) if options.has_reward else None
    further = _rewards(options, weights) if weights else None
    columns = _columns(options)
    rows, load = partial(rows_of, options), partial(_load, options, weights)
    with owned_by_one_run(options.out):
        (total, again, first), engine = counted_rows(rows), _engine(options.engine)
        if options.prompts is None and not this_process()[0].rank:
            warn_if_cut(options.images)
        done = score_into(options.out, rows, total, load, columns, options, further=further, engine=engine)
    if done is None:
        return None
    return replace(done, again=again, first_again=first.image if first else "")


def rows_of(options: ScoreOptions) -> Iterator[Row]:
    """The rows, streamed again at every call."""
    if options.prompts is None:
        return read_manifest(options.images, [*_columns(options), "error"])
    return folder_rows(options.images, read_prompts(options.prompts))


def _columns(options: ScoreOptions) -> list[str]:
    return [*options.scorer_names, *(["reward"] if options.has_reward else [])]


def _engine(name: str) -> Engine:
    """Where batches are scored; Ray is imported only where it is asked for."""
    if name == "local":
        return in_this_process
    from fergi_reward.bulk.ray_engine import on_ray

    return on_ray


def _weights(options: ScoreOptions) -> Calibration:
    return options.weights_by_hand() or Calibration.load(options.calibration or SHIPPED)


def _load(options: ScoreOptions, weights: Calibration | None, share: Share) -> BatchScores:
    """What scores a batch, which is what the weights were fitted on; a worker on Ray loads it too."""
    loaded = load_batch_scores(options, share)
    if weights and not share.rank:
        warn_of_other_scorers([weights], loaded.scorers.values())
    return loaded


def _rewards(options: ScoreOptions, weights: Calibration) -> Further:
    """The function that gives the reward of those scorers that are weighed."""
    extra = options.extra or {}
    scored = {term_name(name): name for name in options.scorer_names if name not in extra}
    columns = {term: name for term, name in scored.items() if term in weights.scorers} or scored
    reward = CombinedReward(list(columns), weights, extra=extra)  # a missing fit shows before gigabytes are loaded

    columns |= {term_name(name): name for name in extra}

    def rewards(rows: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
        terms = {term: torch.tensor([row[name] for row in rows]) for term, name in columns.items()}
        return {"reward": reward.combine(terms, [row["prompt"] for row in rows]).total.tolist()}

    return rewards
