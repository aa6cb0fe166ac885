"""The judgements and the scores that `calibrate --judgements` weighs: columns of tables, and scorers that it runs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pandas as pd

from fergi_reward.bulk.batch_scores import BatchScores
from fergi_reward.bulk.job import load_batch_scores, owned_by_one_run, this_process
from fergi_reward.bulk.manifest import Row
from fergi_reward.bulk.options import ScoringOptions, errors_file
from fergi_reward.bulk.scoring import Share
from fergi_reward.calibration.scored_by import signatures_of
from fergi_reward.core.counts import counted
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.judgement_files.read import (
    FoundJudgements,
    judgements_in,
    read_judgements,
    with_scores,
    with_scores_of,
    without_unscored,
)
from fergi_reward.data.judgements import Judgements
from fergi_reward.evaluation.benchmarks import BENCHMARKS, read_benchmark
from fergi_reward.evaluation.benchmarks.rankings import Benchmark
from fergi_reward.evaluation.options import CalibrateOptions
from fergi_reward.evaluation.picture_scores import checkpoints_of, kept_scores
from fergi_reward.evaluation.scored_pictures import check_same_pictures
from fergi_reward.files.csv_files import read_rows
from fergi_reward.scorers.registry import REGISTRY, column_term, term_name


@dataclass(frozen=True)
class ScoredJudgements:
    """Judgements of pictures that have all scores.

    Attributes:
        found: The judgements.
        scorers: The columns to weigh.
        notes: What else there is to say.
        scored_by: The signatures of the scorers that were run, as in a `Calibration`.
        checkpoints: Their checkpoints, for a report.
        errors: The list of pictures that could not be scored; None where all were.
    """

    found: FoundJudgements
    scorers: Sequence[str]
    notes: Sequence[str]
    scored_by: Mapping[str, str] = field(default_factory=dict)
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    errors: Path | None = None


def read_scored(options: CalibrateOptions) -> ScoredJudgements | None:
    """Read judgements, and compute the scores that no column has; None on all processes except the first.

    Raises:
        FergiRewardError: They cannot be read, a scorer is neither a column nor installed, or most pairs have a picture
            that could not be scored.
    """
    if options.images is not None and not options.images.is_dir():
        raise FergiRewardError(f"--images {options.images} is no folder: give the one that pictures are relative to")
    benchmark = None
    if options.is_benchmark:
        benchmark = replace(read_benchmark(str(options.judgements), options.data), tuning=())
        found = of_benchmark(benchmark, options)
    else:
        found = read_judgements(_place(options), options)
    found = replace(found, judgements=_by_terms(found.judgements))
    names, computed, notes = _chosen(found, options.scorers)
    if len(computed) < len(names) and not benchmark:
        check_same_pictures(found.judgements.pictures, _pictures_folder(options))
    if not computed:
        return None if this_process()[0].rank else ScoredJudgements(found, names, notes)
    scoring = ScoringOptions(
        scorers=computed,
        checkpoints=options.checkpoints,
        batch_size=options.batch_size,
        workers=options.workers,
        device=options.device,
        dtype=options.dtype,
    )
    rows = benchmark.rows if benchmark else partial(_rows, found.judgements, _pictures_folder(options))
    total = len(benchmark.numbers) if benchmark else len(found.judgements.pictures)
    signatures = dict[str, str]()
    complete, errors = _computed(found, rows, total, scoring, options.out, signatures)
    if complete is None:
        return None
    terms = [term_name(name) if name in computed else name for name in names]
    if errors:
        unscored = complete.judgements.unscored - found.judgements.unscored
        notes = [*notes, f"{counted(unscored, 'picture')} could not be scored: {errors}"]
    return ScoredJudgements(complete, terms, notes, signatures, checkpoints_of(scoring), errors)


def of_benchmark(benchmark: Benchmark, options: CalibrateOptions) -> FoundJudgements:
    """The rankings of a benchmark as judgements."""
    table = pd.DataFrame(
        [(ranking.prompt, ranking.images, ranking.ranks) for ranking in benchmark.rankings],
        columns=["prompt", "images", "rank"],
    )
    found = judgements_in(table, options)
    excluded = {f"of {each.what} with {each.reason}": each.count for each in benchmark.exclusions}
    return with_scores_of(replace(found, left_out={**found.left_out, **excluded}), options.scores)


def _place(options: CalibrateOptions) -> Path:
    place = Path(str(options.judgements))
    if not place.exists():
        raise FergiRewardError(
            f"--judgements {place} is neither a file or folder nor a benchmark ({', '.join(BENCHMARKS.names())})"
        )
    return place


def _pictures_folder(options: CalibrateOptions) -> Path:
    place = Path(str(options.judgements))
    return options.images or (place if place.is_dir() else place.parent)


def _by_terms(judgements: Judgements) -> Judgements:
    """The same with scores called by their terms: `score` calls them as they were asked for, a reward does not."""
    terms = {name: column_term(name) for name in map(str, judgements.pictures)}
    new = {name: term for name, term in terms.items() if term not in judgements.pictures}
    varying = {new.get(name, name): example for name, example in judgements.varying.items()}
    return replace(judgements, pictures=judgements.pictures.rename(columns=new), varying=varying)


def _chosen(found: FoundJudgements, scorers: Sequence[str] | None) -> tuple[list[str], list[str], list[str]]:
    """The names to weigh, those of them to compute, and what there is to say."""
    if scorers is None:
        names = [name for name in found.numeric if name in REGISTRY.names()]
        if not names:
            has = f"could be any of the columns {', '.join(found.numeric)}" if found.numeric else "are in no column"
            raise FergiRewardError(
                f"scores {has}: name those to weigh by --scorers, columns or installed scorers, such as --scorers "
                f"{','.join(found.numeric[:3] or REGISTRY.names()[:3])}"
            )
        return names, [], _of_columns(names)
    found.check_scores(scorers)
    columns = found.judgements.pictures
    scorers = [column_term(name) if column_term(name) in columns else name for name in scorers]
    computed = [name for name in scorers if name not in columns]
    if problems := REGISTRY.problems(computed):
        raise FergiRewardError(f"{'; '.join(problems)}; columns with scores are {', '.join(found.numeric) or 'none'}")
    both = [name for name in scorers if name in columns and name in REGISTRY.names()]
    return list(scorers), computed, _of_columns(both)


def _of_columns(names: Sequence[str]) -> list[str]:
    """What there is to say of scorers whose scores are columns."""
    note = (
        f"{', '.join(names)}: taken from the table, so which checkpoint gave these scores is not known, and a reward "
        "cannot check that it has the same"
    )
    return [note] * bool(names)


def _rows(judgements: Judgements, folder: Path) -> Iterator[Row]:
    pictures = judgements.pictures[["image", "prompt"]].astype(str)
    for number, (image, prompt) in enumerate(pictures.itertuples(index=False, name=None)):
        yield Row(number, image, folder / image, prompt)


def _computed(
    found: FoundJudgements,
    rows: Callable[[], Iterator[Row]],
    total: int,
    scoring: ScoringOptions,
    out: Path,
    signatures: dict[str, str],
) -> tuple[FoundJudgements | None, Path | None]:
    """The judgements of pictures that could be scored, with their scores, and the list of those that could not be.

    `signatures` gets those of the scorers.
    """
    folder, names = out.with_name(f"{out.name}.scores"), scoring.scorer_names

    def load(share: Share) -> BatchScores:
        loaded = load_batch_scores(scoring, share)
        signatures.update(signatures_of(loaded.scorers.values()))
        return loaded

    with owned_by_one_run(folder):
        scores = kept_scores(folder, rows, total, load, names, scoring)
    if scores is None:
        return None, None
    by_term = scores[["image", "prompt", *names]].rename(columns={name: term_name(name) for name in names})
    judgements, has_scores = with_scores(found.judgements, by_term, str(folder))
    scored = replace(found, judgements=judgements)
    if has_scores.all():
        return scored, None
    errors = errors_file(folder / "scores.parquet")
    first = next(read_rows(errors, ["image", "error"], carried=True))
    advice = (
        f"the first is {first['image']}: {first['error']} (--images names the folder that pictures are relative to; "
        f"all are in {errors})"
    )
    what = f"{counted(int((~has_scores).sum()), 'picture')} could not be scored"
    return without_unscored(scored, has_scores, what, advice), errors
