"""Draws with a model and its tuned versions, scores all pictures and compares them; resumes where it was stopped."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch

from fergi_reward.bulk.batch_scores import BatchScores, machine
from fergi_reward.bulk.job import owned_by_one_run, this_process
from fergi_reward.bulk.scoring import Share
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.calibration.options import SHIPPED
from fergi_reward.calibration.scored_by import warn_of_other_scorers
from fergi_reward.core.counts import counted
from fergi_reward.core.devices import named_device
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.progress import Progress
from fergi_reward.diffusion.content import model_content, weights_content
from fergi_reward.diffusion.family import Pipeline
from fergi_reward.diffusion.load import load_pipeline
from fergi_reward.diffusion.registry import Toy, is_toys_own, toy_of
from fergi_reward.diffusion.rewards import load_toy_scorer
from fergi_reward.diffusion.trained_weights import load_adapter, load_network
from fergi_reward.evaluation.compared_model import ComparedModel, base_doubt, scale_doubt, seen_prompts, tuned_model
from fergi_reward.evaluation.model_pictures import ModelPictures, Request, requests_of
from fergi_reward.evaluation.models import Measured, Setting, Signal, compare
from fergi_reward.evaluation.models_result import ModelsResult
from fergi_reward.evaluation.named_calibrations import named_calibrations
from fergi_reward.evaluation.options import CompareModelsOptions
from fergi_reward.evaluation.picture_diversity import EMBEDDERS, distance_within
from fergi_reward.evaluation.picture_scores import checkpoints_of, kept_scores
from fergi_reward.evaluation.run_record import BY_HAND
from fergi_reward.evaluation.same_function import check_trained_on, terms_of, unknown_functions
from fergi_reward.evaluation.sentences import alike_prompts, repeated_prompts
from fergi_reward.evaluation.side_by_side import write_side_by_side
from fergi_reward.evaluation.totals import rewards_of, totals_of
from fergi_reward.files.prompts import read_prompts
from fergi_reward.files.store import FileDigests, Store, key_of
from fergi_reward.report.record import PICTURES
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.base import chunks
from fergi_reward.scorers.foreign import LoadedScorer
from fergi_reward.scorers.registry import load_scorer, term_name

BASE = "base"
NO_SCORER = "none"


def run(options: CompareModelsOptions, command: str = "") -> ModelsResult | None:
    """Draw, score and compare; pictures, their scores and the examples side by side are kept in the folder `out`.

    Args:
        options: What to compare.
        command: Noted in the result.

    Returns:
        None on all processes but the first.

    Raises:
        FergiRewardError: An option, the prompts, a model, a scorer or a calibration cannot be used.
    """
    with owned_by_one_run(options.out):
        return _compared(options, command)


def models_of(options: CompareModelsOptions) -> list[ComparedModel]:
    """The base model, then the tuned ones.

    Raises:
        FergiRewardError: One is not there, or two have one name.
    """
    trained_on = None if options.trained_on is None else _terms(options.trained_on, options.scorer_names)
    models = [
        ComparedModel(BASE, options.model, "pipeline"),
        *(tuned_model(text, trained_on) for text in options.tuned),
    ]
    for folder, count in Counter([PICTURES, *(model.folder for model in models)]).items():
        if count > 1:
            place = options.tuned[-1].rpartition("=")[2]
            if folder in (BASE, PICTURES):
                found = f"--tuned {folder}=...: {folder!r} is a folder of the base model's or of the report's"
                raise FergiRewardError(f"{found}: choose another name, as in --tuned mine={place}")
            raise FergiRewardError(f"{count} models are called {folder!r}: name them, as in --tuned mine={place}")
    return models


def _terms(names: Sequence[str], asked: Sequence[str]) -> tuple[str, ...]:
    """Those of the scorers that were trained on; a function from elsewhere has its place as its name."""
    if list(names) == [NO_SCORER]:
        return ()
    for name in names:
        if places := [place for place in asked if place.partition(":")[2] == name]:
            raise FergiRewardError(
                f"--trained-on has {name!r}, and --scorers {places[0]!r}: give --trained-on that, too"
            )
    check_trained_on(names, asked)
    return tuple(map(term_name, names))


def _load_scorers(
    options: CompareModelsOptions, calibrations: Sequence[Calibration], share: Share
) -> dict[str, LoadedScorer]:
    """The scorers; one of other weights than a calibration's is warned of."""
    device = named_device(options.device)
    scorers = {name: _load_scorer(options, name, device) for name in options.scorer_names}
    if not share.rank:
        warn_of_other_scorers(calibrations, scorers.values())
    return scorers


def _load_scorer(options: CompareModelsOptions, name: str, device: torch.device) -> LoadedScorer:
    """A toy's own in place of the published one."""
    dtype, places = getattr(torch, options.dtype), options.checkpoints or {}
    if is_toys_own(options.model, name, places):
        return load_toy_scorer(options.model, name, dtype).to(device)
    return load_scorer(name, places.get(name), device=device, dtype=dtype)


def _checkpoints(options: CompareModelsOptions) -> dict[str, str]:
    """That of each scorer; a toy's own where the base model is one."""
    model, places = options.model, options.checkpoints
    toy = {name: f"of the toy {model}" for name in options.scorer_names if is_toys_own(model, name, places)}
    return checkpoints_of(options) | toy


def _calibrations(options: CompareModelsOptions) -> dict[str, Calibration]:
    """Those asked for, or the weights by hand; by default the shipped one, or the toy's."""
    if by_hand := options.weights_by_hand():
        return {BY_HAND: by_hand}
    toy = toy_of(options.model)
    if options.calibration is None and toy and toy.calibration:
        return {"toy": toy.calibration()}
    return named_calibrations(options.calibration or (SHIPPED,))


def _compared(options: CompareModelsOptions, command: str) -> ModelsResult | None:
    lines = read_prompts(options.prompts)
    prompts = list(dict.fromkeys(lines))
    models = models_of(options)
    terms = [term_name(name) for name in options.scorer_names]
    calibrations = _calibrations(options)
    rewards = rewards_of(calibrations, terms)  # a missing fit shows before anything is drawn
    toy = toy_of(options.model)
    judge = toy if toy and toy.judge and set(prompts) <= toy.captions else None
    requests = requests_of(prompts, options.samples, options.seed)
    notes = _doubts(options, models)  # before anything is loaded
    notes += [*repeated_prompts(lines), *alike_prompts(prompts), *_learned_prompts(models, prompts)]
    pictures = [_pictures(options, model, requests) for model in models]
    _draw(options, models, pictures)

    load = cache(partial(_load_scorers, options, list(calibrations.values())))
    scoring = cache(partial(_scoring, load, options.batch_size, judge))
    measured = [
        _measured(options, model, of_model, scoring, load) for model, of_model in zip(models, pictures, strict=True)
    ]
    if this_process()[0].rank:
        return None
    with_totals = [_with_totals(each, options.scorer_names, rewards) for each in measured if each]
    setting = Setting(
        prompts,
        requests,
        options.samples,
        options.call,
        _embedder(options),
        options.seed,
        {name: calibrations[name].fingerprint() for name in rewards},
        _checkpoints(options),
        command,
        tuple(notes),
    )
    result = compare(with_totals[0], with_totals[1:], _signals(options, models, rewards, judge), setting)
    _write_examples(result, options.out)
    return result


def _signals(
    options: CompareModelsOptions,
    models: Sequence[ComparedModel],
    rewards: Mapping[str, CombinedReward],
    judge: Toy | None,
) -> list[Signal]:
    """In the order of the columns of scores: what is asked of every picture."""
    trained_on = dict.fromkeys(term for model in models for term in model.trained_on or ())
    signals = [Signal(name, "scorer", terms_of(name, trained_on)) for name in options.scorer_names]
    signals += [Signal(name, "judge", ()) for name in (judge.judge_names if judge else ())]
    return signals + [
        Signal(name, "by hand" if reward.calibration.is_by_hand else "calibration", tuple(reward.names))
        for name, reward in rewards.items()
    ]


def _doubts(options: CompareModelsOptions, models: Sequence[ComparedModel]) -> list[str]:
    """What speaks against a base model, or against how an adapter is loaded, in sentences."""
    doubts = [doubt for model in models for doubt in (base_doubt(model, options.model), scale_doubt(model))]
    unknown = {model.name: unknown_functions(options.scorer_names, model.trained_on or ()) for model in models}
    doubts += [
        f"{', '.join(terms)}, which {name} was trained on, cannot be imported here: a judge that is the same function "
        "under another name is not recognised."
        for name, terms in unknown.items()
        if terms
    ]
    return [doubt for doubt in doubts if doubt]


def _learned_prompts(models: Sequence[ComparedModel], prompts: Sequence[str]) -> list[str]:
    """A sentence for each tuned model that was trained on some of the prompts."""
    counts = {model.name: seen_prompts(model, prompts) for model in models}
    return [
        f"{counted(count, 'prompt')} of {len(prompts)} were trained on by {name}, by its prompts.txt: its pictures of "
        "others may be worse."
        for name, count in counts.items()
        if count
    ]


def _draw(options: CompareModelsOptions, models: Sequence[ComparedModel], pictures: Sequence[ModelPictures]) -> None:
    """Draw what is left."""
    share, wait = this_process()
    left = [model for model, of_model in zip(models, pictures, strict=True) if of_model.left(share)]
    for name in options.scorer_names if left else ():  # what cannot be loaded shows before hours of drawing
        _load_scorer(options, name, torch.device("cpu"))
    for model in left:
        if model is not models[0]:
            load_model(options, model)
    for model, of_model in zip(models, pictures, strict=True):
        of_model.draw(partial(load_model, options, model), options.call, share)
    wait()
    for of_model in pictures:
        of_model.store.read()


def _pictures(options: CompareModelsOptions, model: ComparedModel, requests: Sequence[Request]) -> ModelPictures:
    """Where a model's pictures are, with what they depend on by content; not on how many there are."""
    folder = options.out / model.folder
    store = Store(folder / ".drawn")
    digests, load = FileDigests(store), partial(load_model, options, model)
    if model.kind == "pipeline":
        weights, base = model_content(model.place, digests, load), list[str]()
    else:
        load = partial(load_pipeline, options.model, getattr(torch, options.dtype))
        weights, base = weights_content(Path(model.place), digests), model_content(options.model, digests, load)
    context = key_of(model.kind, weights, base, options.dtype, options.call, machine(named_device(options.device)))
    return ModelPictures(folder, requests, store, context, options.batch_size)


def load_model(options: CompareModelsOptions, model: ComparedModel) -> Pipeline:
    """The pipeline that draws as a model does.

    Raises:
        FergiRewardError: It cannot be loaded, or its weights are another base model's.
    """
    place = model.place if model.kind == "pipeline" else options.model
    pipeline = load_pipeline(place, getattr(torch, options.dtype))
    if model.kind == "adapter":
        load_adapter(pipeline, Path(model.place))
    elif model.kind == "network":
        load_network(pipeline, Path(model.place))
    return pipeline.to(named_device(options.device))


def _measured(
    options: CompareModelsOptions,
    model: ComparedModel,
    pictures: ModelPictures,
    scoring: Callable[[Share], BatchScores],
    load: Callable[[Share], Mapping[str, LoadedScorer]],
) -> Measured | None:
    """Scores and distances of a model's pictures; None on all processes but the first."""
    share = this_process()[0]
    columns = scoring(share).names
    table = kept_scores(pictures.folder, pictures.rows, len(pictures.requests), scoring, columns, options)
    if table is None:
        return None
    scores = table.set_index("image")[columns].reindex([request.file for request in pictures.requests])
    distances = _distances(options, pictures, scoring(share).context, load(share))
    pictures.keep([*distances])
    known = np.array(list(distances.values()), dtype=np.float64) if distances else None
    return Measured(model, scores, known)


def _scoring(
    load: Callable[[Share], Mapping[str, LoadedScorer]], batch_size: int, judge: Toy | None, share: Share
) -> BatchScores:
    """What scores, with a toy's judge where it knows the prompts."""
    if judge is None:
        return BatchScores(load(share), batch_size)
    return BatchScores(load(share), batch_size, judge.judge, judge.judge_names)


def _embedder(options: CompareModelsOptions) -> str | None:
    """The scorer whose image embedding measures diversity."""
    if options.samples < 2:
        return None
    by_term = {term_name(name): name for name in options.scorer_names}
    return next((by_term[term] for term in EMBEDDERS if term in by_term), None)


def _distances(
    options: CompareModelsOptions, pictures: ModelPictures, context: str, scorers: Mapping[str, LoadedScorer]
) -> dict[str, float | None]:
    """Mean pairwise distance within each prompt, by its key in the store."""
    name = _embedder(options)
    found: dict[str, float | None] = {}
    if name is None:
        return found
    for requests in Progress(list(chunks(pictures.requests, options.samples)), desc="embedding", unit="prompt"):
        paths = [pictures.path(request) for request in requests]
        key = key_of("distance", context, name, requests[0].number, [pictures.digest(path) for path in paths])
        found[key] = pictures.store.get(key)
        if found[key] is None and (distance := distance_within(scorers[name], paths)) is not None:
            pictures.store.add({key: distance})
            found[key] = distance
    return found


def _with_totals(measured: Measured, names: Sequence[str], rewards: Mapping[str, CombinedReward]) -> Measured:
    by_term = measured.scores[list(names)].set_axis([term_name(name) for name in names], axis="columns")
    totals = {name: totals_of(reward, by_term) for name, reward in rewards.items()}
    return replace(measured, scores=measured.scores.assign(**totals))


def _write_examples(result: ModelsResult, out: Path) -> None:
    """Base and tuned side by side, a file per pair; files of earlier runs that are no longer examples are deleted."""
    examples = {out / one.side_by_side: one for model in result.models for one in (*model.best, *model.worst)}
    for path, one in examples.items():
        write_side_by_side(path, out / one.base, out / one.tuned)
    for folder in {path.parent for path in examples}:
        for path in set(folder.glob("[0-9]*_[0-9]*.jpg")) - examples.keys():
            path.unlink()
