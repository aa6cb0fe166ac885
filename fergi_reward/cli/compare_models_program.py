"""`fergi-reward evaluate models`: from options to pictures, scores and a comparison; goes on where it was killed."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from fergi_reward.bulk.batch_scores import BatchScores, machine
from fergi_reward.bulk.job import ScoringOptions, owned_by_one_run, this_process
from fergi_reward.bulk.scoring import Share
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.cli.best_of_program import load_adapter
from fergi_reward.cli.training_program import TOYS, is_toys_own, load_toy
from fergi_reward.core.devices import named_device
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.diffusion.content import model_content, weights_content
from fergi_reward.diffusion.family import Pipeline, family_of
from fergi_reward.diffusion.load import load_pipeline
from fergi_reward.evaluation.compared_model import ComparedModel, base_doubt, tuned_model
from fergi_reward.evaluation.model_pictures import ModelPictures, Shot, shots_of
from fergi_reward.evaluation.models import Measured, Setting, Signal, compare
from fergi_reward.evaluation.models_result import ModelsResult
from fergi_reward.evaluation.named_calibrations import name_problems, named_calibrations
from fergi_reward.evaluation.picture_diversity import EMBEDDERS, distance_within
from fergi_reward.evaluation.picture_scores import checkpoints_of, kept_scores
from fergi_reward.evaluation.side_by_side import write_side_by_side
from fergi_reward.evaluation.totals import rewards_of, totals_of
from fergi_reward.files.prompts import read_prompts
from fergi_reward.files.store import FileDigests, Store, key_of
from fergi_reward.images import to_pixels
from fergi_reward.report.record import PICTURES
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.base import chunks
from fergi_reward.scorers.foreign import LoadedScorer
from fergi_reward.scorers.registry import load_scorer, term_name
from fergi_reward.toy import emoji
from fergi_reward.toy.emoji.judge import judge
from fergi_reward.toy.emoji.pictures import SCENES

BASE = "base"
NO_SCORER = "none"
# The last two are in no calibration that comes with the package: they can judge what was trained on its default reward.
SCORERS = ("image_reward", "pickscore", "hps_v2", "clip", "aesthetic")
# The emoji world's own judge: how close the nearest real picture is, in dB, and whether it shows what was asked for.
EMOJI_JUDGES = ("judge_psnr", "judge_right_scene")


def scorers_for(model: str) -> str:
    """The scorers that are asked by default, with commas between: of a toy, all that it has.

    >>> scorers_for("emoji"), scorers_for("org/model")
    ('image_reward,pickscore,hps_v2', 'image_reward,pickscore,hps_v2,clip,aesthetic')
    """
    return ",".join(TOYS.get(model, SCORERS))


@dataclass(frozen=True)
class CompareModelsOptions(ScoringOptions):
    """What `fergi-reward evaluate models` is asked for; see its help."""

    model: str
    tuned: Sequence[str]
    prompts: Path
    samples: int
    calibrations: Sequence[str]
    trained_on: str | None
    steps: int | None
    guidance_scale: float | None
    seed: int
    out: Path

    def problems(self) -> list[str]:
        """What is wrong with them."""
        problems = [*super().problems(), *name_problems(self.calibrations)]
        if self.model in TOYS and self.checkpoints:
            problems.append(f"--checkpoint {self.checkpoints[0]} has no use: the toy {self.model} has its own scorers")
        return problems

    def models(self) -> list[ComparedModel]:
        """The base model, then the tuned ones.

        Raises:
            FergiRewardError: One is not there, or two have one name.
        """
        trained_on = self._trained_on()
        models = [
            ComparedModel(BASE, self.model, "pipeline"),
            *(tuned_model(text, trained_on) for text in self.tuned),
        ]
        for folder, count in Counter([PICTURES, *(model.folder for model in models)]).items():
            if count > 1:
                raise FergiRewardError(
                    f"{count} models are called {folder!r}: name them, as in --tuned mine={self.tuned[-1]}"
                )
        return models

    def _trained_on(self) -> tuple[str, ...] | None:
        if self.trained_on is None:
            return None
        names = [name.strip() for name in self.trained_on.split(",")]
        return () if names == [NO_SCORER] else tuple(term_name(name) for name in names)

    def call(self) -> dict[str, Any]:
        """Arguments of the pipelines' calls; what was not asked for is left to them."""
        given = {"num_inference_steps": self.steps, "guidance_scale": self.guidance_scale}
        return {name: value for name, value in given.items() if value is not None}

    def load_scorers(self, share: Share) -> dict[str, LoadedScorer]:
        """Those of a toy where the base model is one."""
        if self.model not in TOYS:
            return super().load_scorers(share)
        device = named_device(self.device)
        return {
            name: load_toy(self.model, name) if is_toys_own(self.model, name) else load_scorer(name, device=device)
            for name in self.scorer_names
        }

    def checkpoints_by_name(self) -> dict[str, str]:
        """That of each scorer; a toy's own where the base model is one."""
        toy = {name: f"of the toy {self.model}" for name in self.scorer_names if is_toys_own(self.model, name)}
        return checkpoints_of(self) | toy

    def calibrations_by_name(self) -> dict[str, Calibration]:
        """Those asked for; by default the shipped one, or the emoji world's."""
        if self.calibrations or self.model not in emoji.MODELS:
            return named_calibrations(self.calibrations or ("shipped",))
        return {"toy": Calibration.load(emoji.CALIBRATION)}


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


def _compared(options: CompareModelsOptions, command: str) -> ModelsResult | None:
    prompts = read_prompts(options.prompts)
    models = options.models()
    terms = [term_name(name) for name in options.scorer_names]
    calibrations = options.calibrations_by_name()
    rewards = rewards_of(calibrations, terms)  # a missing fit shows before anything is drawn
    judged = options.model in emoji.MODELS and set(prompts) <= {scene.caption for scene in SCENES}
    shots = shots_of(prompts, options.samples, options.seed)
    notes = _doubts(options, models)  # before anything is loaded
    pictures = [_pictures(options, model, shots) for model in models]
    _draw(options, models, pictures)

    load = cache(options.load_scorers)
    scoring = cache(partial(_scoring, load, options.batch_size, judged))
    measured = [
        _measured(options, model, of_model, scoring, load) for model, of_model in zip(models, pictures, strict=True)
    ]
    if this_process()[0].rank:
        return None
    with_totals = [_with_totals(each, options.scorer_names, rewards) for each in measured if each]
    setting = Setting(
        prompts,
        shots,
        options.samples,
        options.call(),
        _embedder(options),
        options.seed,
        {name: calibrations[name].fingerprint() for name in rewards},
        options.checkpoints_by_name(),
        command,
        tuple(notes),
    )
    result = compare(with_totals[0], with_totals[1:], _signals(options, rewards, judged), setting)
    _write_examples(result, options.out)
    return result


def _signals(options: CompareModelsOptions, rewards: Mapping[str, CombinedReward], judged: bool) -> list[Signal]:
    """In the order of the columns of scores: what is asked of every picture."""
    signals = [Signal(name, "scorer", (term_name(name),)) for name in options.scorer_names]
    signals += [Signal(name, "judge", ()) for name in EMOJI_JUDGES if judged]
    return signals + [Signal(name, "calibration", tuple(reward.names)) for name, reward in rewards.items()]


def _doubts(options: CompareModelsOptions, models: Sequence[ComparedModel]) -> list[str]:
    """What speaks against a base model, in sentences."""
    called = str(emoji.DATA / "pipeline") if options.model == "emoji" else options.model  # as its cards call it
    return [doubt for model in models if (doubt := base_doubt(model, called))]


def _draw(options: CompareModelsOptions, models: Sequence[ComparedModel], pictures: Sequence[ModelPictures]) -> None:
    """Draw what is left."""
    share, wait = this_process()
    for model, of_model in zip(models[1:], pictures[1:], strict=True):
        if of_model.left(share):
            load_model(options, model)  # what cannot be loaded shows before hours of drawing
    for model, of_model in zip(models, pictures, strict=True):
        of_model.draw(partial(load_model, options, model), options.call(), share)
    wait()
    for of_model in pictures:
        of_model.store.read()


def _pictures(options: CompareModelsOptions, model: ComparedModel, shots: Sequence[Shot]) -> ModelPictures:
    """Where a model's pictures are, with what they depend on by content; not on how many there are."""
    folder = options.out / model.folder
    store = Store(folder / ".drawn")
    digests, load = FileDigests(store), partial(load_model, options, model)
    if model.kind == "pipeline":
        weights, base = model_content(model.place, digests, load), list[str]()
    else:
        load = partial(load_pipeline, options.model, getattr(torch, options.dtype))
        weights, base = weights_content(Path(model.place), digests), model_content(options.model, digests, load)
    context = key_of(model.kind, weights, base, options.dtype, options.call(), machine(named_device(options.device)))
    return ModelPictures(folder, shots, store, context, options.batch_size)


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


def load_network(pipeline: Pipeline, folder: Path) -> None:
    """Give the pipeline the weights of the network in a folder, as full fine-tuning leaves it.

    Raises:
        FergiRewardError: It is damaged, or another model's.
    """
    network = family_of(pipeline).network
    try:
        network.load_state_dict(type(network).from_pretrained(folder).state_dict())
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FergiRewardError(f"{folder} holds no {type(network).__name__} of this pipeline ({reason})") from error


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
    table = kept_scores(pictures.folder, pictures.rows, len(pictures.shots), scoring, columns, options)
    if table is None:
        return None
    scores = table.set_index("image")[columns].reindex([shot.file for shot in pictures.shots])
    distances = _distances(options, pictures, scoring(share).context, load(share))
    pictures.keep([*distances])
    known = np.array(list(distances.values()), dtype=np.float64) if distances else None
    return Measured(model, scores, known)


def _scoring(
    load: Callable[[Share], Mapping[str, LoadedScorer]], batch_size: int, judged: bool, share: Share
) -> BatchScores:
    """What scores, with the emoji world's judge where that was asked."""
    return BatchScores(load(share), batch_size, _judged, EMOJI_JUDGES if judged else ())


def _judged(pictures: Sequence[Image.Image], prompts: Sequence[str]) -> dict[str, list[float]]:
    found = judge(torch.stack([to_pixels(picture.convert("RGB")) for picture in pictures]), prompts)
    right = (found.right_object & found.right_colour).float()
    return dict(zip(EMOJI_JUDGES, (found.psnr.tolist(), right.tolist()), strict=True))


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
    for shots in tqdm(list(chunks(pictures.shots, options.samples)), desc="embedding", unit="prompt"):
        paths = [pictures.path(shot) for shot in shots]
        key = key_of("distance", context, name, shots[0].number, [pictures.digest(path) for path in paths])
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
    """Base and tuned side by side, a file a pair; those of earlier runs are deleted where they are examples no more."""
    examples = {out / one.side_by_side: one for model in result.models for one in (*model.best, *model.worst)}
    for path, one in examples.items():
        write_side_by_side(path, out / one.base, out / one.tuned)
    for folder in {path.parent for path in examples}:
        for path in set(folder.glob("[0-9]*_[0-9]*.jpg")) - examples.keys():
            path.unlink()
