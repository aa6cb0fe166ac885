"""`fergi-reward evaluate preferences`: how often scorers and calibrations agree with people, and who is better."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from fergi_reward.bulk.job import owned_by_one_run, this_process
from fergi_reward.calibration.by_hand import by_hand
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.places import place_without_folders
from fergi_reward.data.fergi import locate
from fergi_reward.data.judgement_files.read import read_judgements
from fergi_reward.data.layouts import read_preferences
from fergi_reward.data.table import PreferenceTable
from fergi_reward.evaluation.benchmark_margins import benchmark_margins
from fergi_reward.evaluation.benchmarks import read_benchmark
from fergi_reward.evaluation.fergi_margins import fergi_margins
from fergi_reward.evaluation.judged_margins import judged_margins
from fergi_reward.evaluation.margins import AllMargins, ModelMargins
from fergi_reward.evaluation.named_calibrations import named_calibrations
from fergi_reward.evaluation.options import FERGI, PreferenceOptions
from fergi_reward.evaluation.picture_scores import checkpoints_of
from fergi_reward.evaluation.preferences_result import Comparison, ModelResult, PreferenceResult
from fergi_reward.evaluation.run_record import BY_HAND
from fergi_reward.evaluation.sentences import too_few
from fergi_reward.files.csv_numbers import BadRows
from fergi_reward.stats.agreement import margin_correlation, same_order
from fergi_reward.stats.held_out import evaluate_held_out
from fergi_reward.stats.intervals import interval
from fergi_reward.stats.mcnemar import mcnemar, only_one_right


def viewed_by_people(options: PreferenceOptions) -> PreferenceTable | None:
    """What viewers ranked and what their faces did; None of a benchmark, and of a table of judgements.

    Raises:
        FergiRewardError: As `read_preferences`.
    """
    if options.dataset != FERGI or options.judgements is not None:
        return None
    return read_preferences(
        options.data,
        options.ratings,
        au_source=options.au_source,
        source_map=options.source_map,
        from_frames=options.from_frames,
        bad=BadRows(options.skip_bad),
    )


def run(options: PreferenceOptions, viewed: PreferenceTable | None, command: str = "") -> PreferenceResult | None:
    """Evaluate; scores of pictures are kept in the folder `out`.

    Args:
        options: What to evaluate.
        viewed: As `viewed_by_people` gives it.
        command: Noted in the result.

    Returns:
        None on all processes but the first.

    Raises:
        FergiRewardError: The data, a scorer or a calibration cannot be used, or no pair is left.
    """
    calibrations = named_calibrations(options.calibration)
    found: AllMargins | None
    if (options.judgements is not None or viewed is not None) and this_process()[0].rank:
        return None
    if options.judgements is not None:
        calibrations |= {BY_HAND: by_hand(options.weights)} if options.weights is not None else {}
        found = _of_a_table(options, options.judgements, calibrations)
    elif viewed is not None:
        place = options.data or str(locate())
        found = fergi_margins(viewed, place, options.scorer_names, calibrations)
    else:
        with owned_by_one_run(options.out):
            benchmark = read_benchmark(options.dataset, options.data)
            found = benchmark_margins(benchmark, options, calibrations, options.out)
    if found is None:
        return None
    checkpoints = {} if options.dataset == FERGI else checkpoints_of(options)
    return evaluate(found, calibrations, checkpoints, options.seed, command)


def _of_a_table(options: PreferenceOptions, place: str, calibrations: Mapping[str, Calibration]) -> AllMargins:
    read = read_judgements(Path(place), options)
    read.check_scores(options.scorers or ())
    found = judged_margins(read.judgements, place, options.scorers, calibrations, read.left_out)
    how = f"{place_without_folders(place)} was {read.sentence()}."
    return replace(found, notes=[how, *read.remarks, *found.notes])


def evaluate(
    found: AllMargins,
    calibrations: Mapping[str, Calibration],
    checkpoints: Mapping[str, str],
    seed: int,
    command: str = "",
) -> PreferenceResult:
    """Judge every model, and compare every two.

    Args:
        found: Their margins on the same pairs.
        calibrations: By name; the fingerprints of those that are judged are noted.
        checkpoints: Noted in the result.
        seed: Seed of the bootstrap.
        command: Noted in the result.

    Raises:
        FergiRewardError: There is no model.
    """
    if not found.models:
        raise FergiRewardError(f"there is nothing to judge: {' '.join(found.notes) or 'give a scorer'}")
    judged = {model.held_out.model for model in found.models}
    return PreferenceResult(
        data=found.data,
        models=tuple(_result(model, seed) for model in found.models),
        comparisons=tuple(_compared(first, second, seed) for first, second in combinations(found.models, 2)),
        exclusions=tuple(found.exclusions),
        published=tuple(found.published),
        protocol=tuple(found.protocol),
        notes=(*found.notes, *too_few(found.data.units, found.data.unit)),
        command=command,
        seed=seed,
        calibrations={name: each.fingerprint() for name, each in calibrations.items() if name in judged},
        checkpoints=checkpoints,
    )


def _result(model: ModelMargins, seed: int) -> ModelResult:
    result = evaluate_held_out(model.held_out, seed)
    published = model.as_published, model.published
    return ModelResult(model.held_out.model, model.kind, model.seen, result, *published, model.overlap)


def _compared(one: ModelMargins, other: ModelMargins, seed: int) -> Comparison:
    first, second = one.held_out, other.held_out
    only_first, only_second = only_one_right(first.correct, second.correct)
    gains = first.correct.astype(float) - second.correct
    return Comparison(
        first=first.model,
        second=second.model,
        only_first=only_first,
        only_second=only_second,
        p_value=mcnemar(only_first, only_second),
        difference=float(gains.mean()),
        ci95=interval(gains, first.users, seed),
        same_order=same_order(first.margins, second.margins),
        spearman=margin_correlation(first.margins, second.margins),
    )
