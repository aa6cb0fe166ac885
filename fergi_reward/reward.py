"""The combined reward: scorers and the viewer's face, standardised and weighted as preferences chose."""

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from fergi_reward.calibration.by_hand import RAW, Moments, by_hand
from fergi_reward.calibration.calibration import Calibration, Fit
from fergi_reward.callables.rewards import check_gradients
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.transfers import sent
from fergi_reward.faces.predictor import ReactionPredictor
from fergi_reward.faces.recorded import RecordedReactions
from fergi_reward.files.digests import record_digest
from fergi_reward.files.picture_files import Room
from fergi_reward.images import Picture, checked_once, open_picture, picture_list
from fergi_reward.reactions.clip import valence
from fergi_reward.reactions.sources import check_source
from fergi_reward.scorers.base import prompt_list
from fergi_reward.scorers.foreign import LoadedScorer, as_scorer
from fergi_reward.scorers.pickscore import PickScorer
from fergi_reward.scorers.registry import named_by_a_file, term_name
from fergi_reward.scorers.scorer_set import ScorerSet

Reaction = Literal["none", "recorded", "predicted"]
# Anything that `as_scorer` takes, or a name.
Askable = Callable[..., Any] | str
AU4 = "au4"
AU4_UNCERTAINTY = "au4_uncertainty"
# Whose towers the reaction predictor reads.
TOWER = "pickscore"
DISAGREEMENT = "disagreement"
# Decoded at a time for all scorers: 200 MB at 512 x 512. Those that find no room are decoded by each scorer.
HELD_PICTURES = 256


@dataclass(frozen=True)
class RewardOutput:
    """The reward of a batch of B images, and what it is made of.

    Attributes:
        total: (B,) float32. With a `bradley-terry` calibration, differences of totals are log-odds of the preference.
        terms: Raw value of each term, (B,); 0 where it is missing.
        contributions: What each term adds to the total, (B,); 0 where it is missing. With an uncertainty penalty,
            `disagreement` is a term like the others, and with predicted reactions `au4_uncertainty`.
        missing: Which images lack a term, (B,) bool, for terms that can be missing. Their total comes from weights that
            were fitted without the term.
    """

    total: Tensor
    terms: dict[str, Tensor]
    contributions: dict[str, Tensor]
    missing: dict[str, Tensor]

    def log(self, prefix: str = "reward") -> dict[str, float]:
        """Means for a tracker: the total, each term, and the share of images that lack one."""
        means = {prefix: self.total} | {f"{prefix}/{name}": term for name, term in self.terms.items()}
        means |= {f"{prefix}/{name}_missing": mask.float() for name, mask in self.missing.items()}
        together = torch.stack([values.detach().mean() for values in means.values()])
        return dict(zip(means, together.tolist(), strict=True))


class CombinedReward:
    """A weighted sum of scorers and, where there are reactions, the AU4 valence of the viewer's face.

    Example::

        from fergi_reward import CombinedReward

        reward = CombinedReward.from_pretrained()
        print(reward.score(["cat_1.png", "cat_2.png"], "a cat on a sofa").total)

    Or with weights of your own, and a function as a scorer::

        def brightness(pixels, prompts):
            return pixels.mean(dim=(1, 2, 3))

        reward = CombinedReward({"pickscore": 0.7, "brightness": (brightness, 0.3)})

    Args:
        scorers: Scorers (anything that `as_scorer` takes), or names of scorers that are loaded at first use. Or, in
            place of a calibration, by name the weight of each, or a scorer and its weight.
        calibration: The weights; it must have a fit for just these scorers, and with reactions one for these and AU4.
            Fits with more of the face are not used.
        reaction: Where reactions come from. `none`: weights fitted without them. `recorded`: looked up by image; an
            image without one takes the weights fitted without the term. `predicted`: what `predictor` expects of it.
        recorded: The reactions, for `recorded`.
        predictor: For `predicted`. It reads the embeddings of PickScore: of the one in the reward, or else of one that
            is loaded for it.
        reaction_pessimism: How many times the uncertainty of a predicted valence is subtracted from it, at least 0.
        accept_chance: Take a predictor that was no better than chance on viewers it had not seen.
        checkpoints: By scorer name, a folder or hub id in place of the official checkpoint.
        device: Where scorers are loaded; by default the CPU. "cuda": the GPU that is current where it is made.
        dtype: Of the towers of scorers that are loaded; by default float32.
        offload: Park scorers on the CPU, and move each to `device` only while it scores.
        uncertainty_penalty: Subtracted from the total for each unit of the scorers' disagreement, the standard
            deviation of their standardised scores. Where scorers of an image contradict each other, one of them is
            being fooled; a lower bound on an ensemble does not follow it there (Coste et al., arXiv 2310.02743,
            section 3). 0: no penalty.
        standardise: For weights given by hand, what standardises the scores, as in `by_hand`; by default they are
            weighed raw.

    Raises:
        FergiRewardError: There is neither a calibration nor a weight for each, or both; two scorers of one name. The
            calibration has no weights for these terms, or was fitted on another AU source; a
            predictor of another valence than it weighs, or of none; a penalty that is negative, or with a single
            scorer.
    """

    def __init__(
        self,
        scorers: Sequence[Askable] | Mapping[str, float | tuple[Callable[..., Any], float]],
        calibration: Calibration | None = None,
        *,
        reaction: Reaction = "none",
        recorded: RecordedReactions | None = None,
        predictor: ReactionPredictor | None = None,
        reaction_pessimism: float = 1.0,
        accept_chance: bool = False,
        checkpoints: Mapping[str, str | Path] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        offload: bool = False,
        uncertainty_penalty: float = 0.0,
        standardise: Calibration | Moments | None = None,
    ) -> None:
        scorers, calibration = _chosen(scorers, calibration, standardise)
        self.calibration = calibration
        self._names = [term_name(scorer) if isinstance(scorer, str) else scorer.name for scorer in scorers]
        self._uncertainty_penalty = uncertainty_penalty
        _check_reactions(reaction, recorded, predictor, calibration)
        self._reaction, self._recorded, self._predictor = reaction, recorded, predictor
        self._without = calibration.fit_for(self._names)
        self._with = self._without if reaction == "none" else calibration.fit_for([*self._names, AU4])
        self._decay = self._with.decay or 0.0
        self._pessimism = reaction_pessimism
        if predictor:
            _check_predictor(predictor, self._decay, accept_chance)
        if reaction_pessimism < 0:
            raise FergiRewardError(f"reaction_pessimism is {reaction_pessimism}: it must be at least 0")
        if uncertainty_penalty < 0 or (uncertainty_penalty and len(self._names) < 2):
            raise FergiRewardError(
                f"uncertainty_penalty is {uncertainty_penalty} with {len(self._names)} scorers: it must be at least 0, "
                "and one scorer alone cannot disagree"
            )
        if uncertainty_penalty and calibration.protocol == RAW:
            raise FergiRewardError(
                "uncertainty_penalty compares standardised scores: give standardise with the weights"
            )
        needed = [*scorers, TOWER] if predictor and TOWER not in self._names else scorers
        self._scorers = ScorerSet(
            needed,
            checkpoints=checkpoints,
            device=device,
            dtype=dtype,
            offload=offload,
            check=partial(_check_tower, predictor) if predictor else None,
        )

    @classmethod
    def from_pretrained(
        cls,
        calibration: str | Path | None = None,
        *,
        scorers: Sequence[Askable] | None = None,
        reaction: Reaction = "none",
        recorded: RecordedReactions | None = None,
        predictor: ReactionPredictor | None = None,
        reaction_pessimism: float = 1.0,
        accept_chance: bool = False,
        checkpoints: Mapping[str, str | Path] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        offload: bool = False,
        uncertainty_penalty: float = 0.0,
    ) -> "CombinedReward":
        """The reward with published scorers and a calibration; nothing is downloaded before the first image is scored.

        Args:
            calibration: A calibration file; by default the one on FERGI that comes with the library.
            scorers: As for the class; by default all that the calibration weighs.
            reaction: As for the class.
            recorded: As for the class.
            predictor: As for the class.
            reaction_pessimism: As for the class.
            accept_chance: As for the class.
            checkpoints: As for the class.
            device: As for the class.
            dtype: As for the class.
            offload: As for the class.
            uncertainty_penalty: As for the class.
        """
        record = Calibration.shipped() if calibration is None else Calibration.load(Path(calibration))
        return cls(
            named_by_a_file(record.scorers) if scorers is None else scorers,
            record,
            reaction=reaction,
            recorded=recorded,
            predictor=predictor,
            reaction_pessimism=reaction_pessimism,
            accept_chance=accept_chance,
            checkpoints=checkpoints,
            device=device,
            dtype=dtype,
            offload=offload,
            uncertainty_penalty=uncertainty_penalty,
        )

    @property
    def names(self) -> list[str]:
        """The terms of the scorers."""
        return list(self._names)

    def describe(self) -> dict[str, Any]:
        """What the reward is made of, for a model card: JSON. Loads scorers of other people that were given by name."""
        record = self.calibration
        weighed = {term.name: {"weight": term.weight, "mean": term.mean, "std": term.std} for term in self._with.terms}
        made_by = {"protocol": record.protocol, "dataset": record.dataset, "command": record.command}
        foreign = {scorer.name: scorer.describe() for scorer in self._scorers.foreign()}
        return {
            "terms": weighed,
            **({"scorers": foreign} if foreign else {}),
            "uncertainty_penalty": self._uncertainty_penalty,
            "reaction": self._described_reaction(),
            "calibration": {**made_by, "au_source": record.au_source, "library_version": record.library_version},
        }

    def fingerprints(self) -> dict[str, str]:
        """What the numbers in `describe` cannot tell apart, by content: a digest for each scorer, by its term.

        Scorers that were given by name are loaded now. Also one of the `calibration`, and where there are any, of the
        `predictor` and of the `recorded` reactions.
        """
        digests = {scorer.name: scorer.weights_digest() for scorer in self.scorers}
        digests["calibration"] = self.calibration.fingerprint()
        if self._predictor:
            digests["predictor"] = self._predictor.fingerprint
        if self._recorded:
            digests["recorded"] = record_digest(dict(self._recorded.activations))
        return digests

    def _described_reaction(self) -> dict[str, Any]:
        mode = {"mode": self._reaction}
        if self._predictor is None:
            return mode
        held_out = self._predictor.record.held_out
        predictor = {"fingerprint": self._predictor.fingerprint, "better_than_chance": held_out.better_than_chance}
        return {**mode, "pessimism": self._pessimism, "predictor": predictor}

    @property
    def scorers(self) -> list[LoadedScorer]:
        """The scorers, and the one whose towers a predictor reads; loads those that were given by name."""
        return self._scorers.loaded()

    @property
    def without_gradient(self) -> list[str]:
        """The terms through which no gradient reaches the pixels; loads as `scorers` does."""
        return [scorer.name for scorer in self.scorers if not scorer.is_differentiable]

    @property
    def device(self) -> torch.device:
        """Where it scores."""
        return self._scorers.device

    def to(self, device: torch.device | str) -> Self:
        """Move all scorers, and load there those that are not loaded yet; returns itself, as a module does."""
        self._scorers.move(device)
        return self

    def eval(self) -> Self:
        """Put all loaded scorers in evaluation mode, in which others are loaded; returns itself, as a module does."""
        self._scorers.eval()
        return self

    def __repr__(self) -> str:
        """Terms and weights, and who chose them."""
        weighed = ", ".join(f"{term.name} {term.weight:g}" for term in self._with.terms)
        return f"{type(self).__name__}({weighed}; weights {self.calibration.protocol})"

    def __dir__(self) -> list[str]:
        """What users call."""
        return [name for name in super().__dir__() if not name.startswith("_") or name.endswith("__")]

    def __call__(
        self, pixels: Tensor, prompts: str | Sequence[str], *, image_ids: Sequence[str] | None = None
    ) -> RewardOutput:
        """Score pixels; gradients reach them.

        Args:
            pixels: Float (B, 3, H, W) in [0, 1], RGB.
            prompts: One an image, or one for all.
            image_ids: One an image, for recorded reactions.

        Raises:
            FergiRewardError: Pixels or prompts are not of that form, or a scorer gave a number that is not finite.
        """
        prompts = prompt_list(prompts, len(pixels))
        scores: dict[str, Tensor] = {}
        with checked_once(pixels) as pixels:
            if torch.is_grad_enabled() and pixels.requires_grad:
                self._check_gradients()
            for scorer in self._scorers.awake():
                if self._predictor and scorer.name == TOWER and isinstance(scorer, PickScorer):
                    scores |= self._read(scorer, *scorer.features(pixels, prompts))
                else:
                    scores[scorer.name] = scorer(pixels, prompts)
        return self.combine(scores, prompts, image_ids)

    def _check_gradients(self) -> None:
        """Refuse a gradient that would lack a term, or meet a scorer that has left."""
        if self._scorers.offload:
            raise FergiRewardError(
                "the backward pass needs the scorers where they are: give offload=False, or use score()"
            )
        check_gradients(self.without_gradient)

    def _read(self, scorer: PickScorer, images: Tensor, texts: Tensor) -> dict[str, Tensor]:
        """What the predictor, and where it is in the reward PickScore, say of the same embeddings."""
        score = {scorer.name: scorer.compare(images, texts)} if scorer.name in self._names else {}
        prediction = self._predictor(images, texts) if self._predictor else None
        return score if prediction is None else score | {AU4: prediction.mean, AU4_UNCERTAINTY: prediction.uncertainty}

    def score(
        self,
        images: Picture | Iterable[Picture] | Tensor,
        prompts: str | Sequence[str],
        *,
        image_ids: Sequence[str] | None = None,
        batch_size: int = 8,
    ) -> RewardOutput:
        """Score pictures or pixels without gradients; each picture is decoded once for all scorers.

        Args:
            images: Pictures (see `images.py`), or pixels (B, 3, H, W).
            prompts: One an image, or one for all.
            image_ids: One an image, for recorded reactions; by default the paths, where the images are paths.
            batch_size: Images at a time.

        Raises:
            FergiRewardError: An image or prompt cannot be used, or a scorer gave a number that is not finite.
        """
        listed = images if isinstance(images, Tensor) else picture_list(images)
        prompts = prompt_list(prompts, len(listed))
        scores: dict[str, list[Tensor]] = {}
        for start in range(0, max(1, len(listed)), HELD_PICTURES):
            part = listed[start : start + HELD_PICTURES]
            with checked_once(part) if isinstance(part, Tensor) else nullcontext(_decoded(part)) as held:
                for scorer in self._scorers.awake():
                    for name, of_part in self._score(scorer, held, prompts[start : start + HELD_PICTURES], batch_size):
                        scores.setdefault(name, []).append(of_part)
        return self.combine(
            {name: torch.cat(parts) for name, parts in scores.items()}, prompts, image_ids or _paths(listed)
        )

    @torch.no_grad()
    def _score(
        self, scorer: LoadedScorer, held: Sequence[Picture] | Tensor, prompts: list[str], batch_size: int
    ) -> Iterable[tuple[str, Tensor]]:
        if self._predictor and scorer.name == TOWER and isinstance(scorer, PickScorer):
            return self._read(scorer, *scorer.embed(held, prompts, batch_size=batch_size)).items()
        return [(scorer.name, scorer.score(held, prompts, batch_size=batch_size))]

    def combine(
        self, scores: Mapping[str, Tensor], prompts: Sequence[str], image_ids: Sequence[str] | None = None
    ) -> RewardOutput:
        """Standardise, weight and add scores; rows without a reaction take the weights fitted without it.

        Args:
            scores: (B,) from each scorer, by name; on whatever device each lives. With predicted reactions also `au4`,
                the expected valence, and `au4_uncertainty`.
            prompts: One a row, for errors.
            image_ids: One a row, for recorded reactions.

        Returns:
            On the device of the first score.

        Raises:
            FergiRewardError: A score is missing or not finite, or reactions cannot be looked up.
        """
        names = [*self._names, *([AU4, AU4_UNCERTAINTY] if self._predictor else [])]
        if set(scores) != set(names):
            raise FergiRewardError(f"the reward weighs {', '.join(names)}, got scores of {', '.join(scores)}")
        device = scores[names[0]].device
        terms = {name: scores[name].to(device, torch.float32) for name in names}
        _check_finite(terms, prompts)
        if self._recorded is None:
            return self._output(terms, _contributions(self._with, terms) | self._doubt(terms), {})
        parts = _contributions(self._without, terms)
        activations, missing = self._look_up(image_ids, len(prompts), device)
        valences = sent(torch.from_numpy(valence(activations, self._decay)).float(), device)
        terms |= {AU4: valences}
        parts |= {AU4: torch.zeros_like(valences)}
        with_reaction = _contributions(self._with, terms)
        parts = {name: torch.where(missing, parts[name], with_reaction[name]) for name in parts}
        return self._output(terms, parts, {AU4: missing})

    def _doubt(self, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the uncertainty of a predicted valence takes from the total, at the weight of the valence."""
        if self._predictor is None:
            return {}
        (valence_term,) = (term for term in self._with.terms if term.name == AU4)
        taken = self._pessimism * terms[AU4_UNCERTAINTY]
        return {AU4_UNCERTAINTY: -valence_term.weight * taken / valence_term.std}

    def _output(self, terms: dict[str, Tensor], parts: dict[str, Tensor], missing: dict[str, Tensor]) -> RewardOutput:
        if self._uncertainty_penalty:
            scorers = [term for term in self._without.terms if term.name in self._names]
            standardised = torch.stack([(terms[term.name] - term.mean) / term.std for term in scorers])
            # The root has no gradient at 0.
            disagreement = standardised.var(dim=0, correction=0).clamp(min=1e-12).sqrt()
            terms = terms | {DISAGREEMENT: disagreement}
            parts = parts | {DISAGREEMENT: -self._uncertainty_penalty * disagreement}
        return RewardOutput(_sum(parts), terms, parts, missing)

    def _look_up(
        self, image_ids: Sequence[str] | None, count: int, device: torch.device
    ) -> "tuple[np.ndarray, Tensor]":
        """Activations by image, 0 where there is none, and the mask of where that is."""
        if image_ids is None or len(image_ids) != count:
            given = "none" if image_ids is None else str(len(image_ids))
            raise FergiRewardError(f"recorded reactions are looked up by image_ids: give {count} of them, got {given}")
        known = self._recorded.activations if self._recorded else {}
        missing = sent(torch.tensor([image not in known for image in image_ids], device="cpu"), device)
        return np.array([known.get(image, 0.0) for image in image_ids]), missing


def _check_reactions(
    reaction: Reaction,
    recorded: RecordedReactions | None,
    predictor: ReactionPredictor | None,
    calibration: Calibration,
) -> None:
    given = {"recorded": ("recorded reactions", recorded), "predicted": ("predictor", predictor)}
    if reaction not in ("none", *given):
        raise FergiRewardError(f"reaction is 'none', 'recorded' or 'predicted', got {reaction!r}")
    for mode, (what, value) in given.items():
        if (reaction == mode) != (value is not None):
            raise FergiRewardError(f"reaction={reaction!r} with {'no ' if value is None else ''}{what} given")
    what, source = "reactions", recorded.source if recorded else calibration.au_source
    if predictor:
        what, source = "a predictor of reactions", predictor.record.au_source
    check_source("the calibration was fitted on", calibration.au_source, what, source)


def _check_predictor(predictor: ReactionPredictor, decay: float, accept_chance: bool) -> None:
    record = predictor.record
    if record.decay != decay:
        raise FergiRewardError(
            f"the calibration weighs the AU4 valence of decay {decay:g}, the predictor expects that of decay "
            f"{record.decay:g}: fit it with --decay {decay:g}"
        )
    if not (record.held_out.better_than_chance or accept_chance):
        low, high = record.held_out.ci95
        raise FergiRewardError(
            f"the predictor was no better than chance on viewers it had not seen: {record.held_out.accuracy:.1%} of "
            f"the pairs (95 % interval {low:.1%} - {high:.1%}); fit it on more, or give accept_chance=True"
        )


def _check_tower(predictor: ReactionPredictor, scorer: LoadedScorer) -> None:
    if scorer.name == TOWER:
        if not isinstance(scorer, PickScorer):
            raise FergiRewardError(
                f"the predictor reads the embeddings of a PickScorer, {TOWER} is another's: rename it"
            )
        predictor.check_tower(scorer)


def _chosen(
    scorers: Sequence[Askable] | Mapping[str, float | tuple[Callable[..., Any], float]],
    calibration: Calibration | None,
    standardise: Calibration | Moments | None,
) -> tuple[list[LoadedScorer | str], Calibration]:
    """The scorers, those that were given as the library asks them, and their weights."""
    if isinstance(scorers, Mapping) == (calibration is not None) or (calibration and standardise):
        raise FergiRewardError(
            "weights come from a calibration, or by hand as a mapping from each scorer to its weight (with or without "
            "standardise): give one of the two"
        )
    if isinstance(scorers, str) or not isinstance(scorers, Iterable):
        raise FergiRewardError(f"scorers is {scorers!r:.100}, must be a list of scorers, or a mapping to their weights")
    if isinstance(scorers, Mapping):
        pairs = {name: pair if isinstance(pair, tuple | list) else (name, pair) for name, pair in scorers.items()}
        if wrong := [name for name, pair in pairs.items() if len(pair) != 2]:
            raise FergiRewardError(f"{', '.join(wrong)} must have a weight, or a scorer and a weight")
        chosen = [name if scorer is name else as_scorer(scorer, name) for name, (scorer, _) in pairs.items()]
    else:
        chosen = [scorer if isinstance(scorer, str) else as_scorer(scorer) for scorer in scorers]
    names = [term_name(scorer) if isinstance(scorer, str) else scorer.name for scorer in chosen]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise FergiRewardError(f"two scorers are called {', '.join(twice)}: name one otherwise, as as_scorer does")
    if calibration is None:
        calibration = by_hand(dict(zip(names, (weight for _, weight in pairs.values()), strict=True)), standardise)
    return chosen, calibration


def _contributions(fit: Fit, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weight * (x - mean) / std for every term of the fit."""
    return {term.name: term.weight * (terms[term.name] - term.mean) / term.std for term in fit.terms}


def _sum(parts: Mapping[str, Tensor]) -> Tensor:
    return torch.stack(list(parts.values())).sum(dim=0)


def _check_finite(terms: Mapping[str, Tensor], prompts: Sequence[str]) -> None:
    if torch.stack([values.detach() for values in terms.values()]).isfinite().all():  # a GPU is waited for once
        return
    for name, values in terms.items():
        for row, value in enumerate(values.tolist()):
            if not math.isfinite(value):
                raise FergiRewardError(f"{name} gave {value} for image {row}, prompt {prompts[row]!r}")


def _decoded(images: Sequence[Picture]) -> list[Picture]:
    """The images decoded, the same picture as the same object, so that scorers see that it is the same."""
    opened: dict[object, Picture] = {}
    decoded, room = list[Picture](), Room()
    for image in images:
        key = os.fspath(image) if isinstance(image, str | os.PathLike) else id(image)
        if key not in opened:
            picture = open_picture(image)
            opened[key] = picture if room.has(picture) else image
        decoded.append(opened[key])
    return decoded


def _paths(images: Sequence[Picture] | Tensor) -> list[str] | None:
    """The paths as ids, where all images are paths."""
    if isinstance(images, Tensor) or not all(isinstance(image, str | os.PathLike) for image in images):
        return None
    return [os.fspath(image) for image in images]  # type: ignore[arg-type]
