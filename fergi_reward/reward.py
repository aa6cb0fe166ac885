"""The combined reward: scorers and the viewer's face, standardised and weighted as preferences chose."""

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from fergi_reward.calibration.by_hand import RAW, Moments
from fergi_reward.calibration.calibration import Calibration, Fit, Term
from fergi_reward.calibration.own_scorers import own_scorers
from fergi_reward.calibration.scored_by import warn_of_other_weights
from fergi_reward.calibration.weighed import Askable, ByHand, weighed
from fergi_reward.callables.reward_output import RewardOutput
from fergi_reward.callables.rewards import check_gradients
from fergi_reward.core.errors import FergiRewardError, FergiRewardWarning
from fergi_reward.faces.face import Face, FaceTerms, TowerReader, fits_with
from fergi_reward.faces.old_arguments import face_of
from fergi_reward.images import Picture, checked_once, decoded_once, paths_of, picture_list
from fergi_reward.scorers.base import Towers, prompt_list
from fergi_reward.scorers.fastest_dtype import DtypeOrAuto
from fergi_reward.scorers.foreign import LoadedScorer
from fergi_reward.scorers.scorer_set import ScorerSet
from fergi_reward.scorers.sigma import Unsure, says_sigma, sigma_term

DISAGREEMENT = "disagreement"
# Pictures decoded once for all scorers: 200 MB at 512 x 512. Those that find no room are decoded by each scorer.
DECODED_ONCE = 256
SCALE = "each term adds weight x (score - mean) / std"
WITH_EXTRA = "; extra adds raw scores: 1 more of the total is not what the calibration says"
# Standard deviations from the calibration's mean. Of 2,827 pictures of FERGI the farthest score is at 4.1, of 800 of
# TIFA160 at 4.0; the PickScore of the toys is at -25.
FAR = 10.0


class CombinedReward:
    """A weighted sum of scorers and, where there are reactions, the valence of the viewer's face.

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
        calibration: The weights; it must have a fit for just these scorers, and with a face one for these and action
            units that the face knows. Of several, each image takes the one with the most units that its face has.
        face: Where the viewer's reaction comes from: `Recorded`, `Predicted` or another `Face`. None: weights that were
            fitted without it.
        checkpoints: By scorer name, a folder or hub id in place of the official checkpoint.
        device: Where scorers are loaded; by default the CPU. "cuda": the GPU that is current where it is made.
        dtype: Data type of the towers of scorers that are loaded; by default float32. "auto" takes the faster one of
            float32 and bfloat16 there.
        offload: Park scorers on the CPU, and move each to `device` only while it scores.
        uncertainty_penalty: Subtracted from the total for each unit of the scorers' disagreement, the standard
            deviation of their standardised scores. Where scorers of an image contradict each other, one of them is
            being fooled; a lower bound on an ensemble does not follow it there (Coste et al., arXiv 2310.02743,
            section 3). Where scorers say how unsure they are (`scorers.sigma.Unsure`), it is the standard deviation of
            the mixture of their distributions (Lakshminarayanan et al., arXiv 1612.01474, section 2.4): the root of the
            variance of the standardised scores plus the mean of (sigma / std)², in which the other scorers count 0.
            0: no penalty.
        standardise: For weights given by hand, what standardises the scores, as in `by_hand`; by default they are
            weighed raw. Weights copied from a calibration, or from `describe()`, need that calibration here.
        extra: What is added to that sum: by name the weight of a scorer, or a scorer and its weight, as in
            `{"brightness": (function, 0.3)}`. The weights are of raw scores, which the penalty leaves out. A term
            of weight 0 is only logged.
        old: Arguments that `face` replaces, until version 0.2.

    Raises:
        FergiRewardError: There is neither a calibration nor a weight for each, or both; two scorers of one name. The
            calibration has no weights for these terms; the face is on another scale or does not suit the weights; a
            penalty that is negative, or with a single scorer that does not say how unsure it is.
    """

    def __init__(
        self,
        scorers: Sequence[Askable] | ByHand,
        calibration: Calibration | None = None,
        *,
        face: Face | None = None,
        checkpoints: Mapping[str, str | Path] | None = None,
        device: torch.device | str | None = None,
        dtype: DtypeOrAuto | None = None,
        offload: bool = False,
        uncertainty_penalty: float = 0.0,
        standardise: Calibration | Moments | None = None,
        extra: ByHand | None = None,
        **old: Any,  # noqa: ANN401
    ) -> None:
        chosen = weighed(scorers, calibration, standardise, extra)
        self.calibration, self._names, self._extra = chosen.calibration, chosen.names, chosen.extra
        self._face = face = face_of(face, old)
        self._reader = reader = face.reader if face else None
        self._without = self.calibration.fit_for(self._names)
        self._with_face = [(face, fit) for fit in fits_with(face, self.calibration, self._names)] if face else []
        self._fit = self._with_face[-1][1] if face else self._without
        self._uncertainty_penalty = uncertainty_penalty
        self._standardised = [term for term in self._without.terms if term.name in set(self._names) - set(self._extra)]
        self._may_warn = self.calibration.protocol != RAW
        given = zip(self._names, chosen.scorers, strict=True) if uncertainty_penalty else ()
        self._unsure = [name for name, scorer in given if says_sigma(scorer) and name not in self._extra]
        _check_penalty(uncertainty_penalty, self._standardised, self._unsure, self.calibration)
        self._scorers = ScorerSet(
            [*chosen.scorers, reader.tower] if reader and reader.tower not in self._names else chosen.scorers,
            checkpoints=checkpoints,
            device=device,
            dtype=dtype,
            offload=offload,
            check=partial(_check_scorer, self.calibration, reader),
        )

    @classmethod
    def from_pretrained(
        cls,
        calibration: str | Path | None = None,
        *,
        scorers: Sequence[Askable] | None = None,
        face: Face | None = None,
        checkpoints: Mapping[str, str | Path] | None = None,
        device: torch.device | str | None = None,
        dtype: DtypeOrAuto | None = None,
        offload: bool = False,
        uncertainty_penalty: float = 0.0,
        extra: ByHand | None = None,
        **old: Any,  # noqa: ANN401
    ) -> "CombinedReward":
        """The reward with published scorers and a calibration; nothing is downloaded before the first image is scored.

        Args:
            calibration: A calibration file; by default `shipped`, the one on FERGI that comes with the library.
            scorers: As for the class; by default all that the calibration weighs.
            face: As for the class.
            checkpoints: As for the class.
            device: As for the class.
            dtype: As for the class.
            offload: As for the class.
            uncertainty_penalty: As for the class.
            extra: As for the class.
            old: As for the class.
        """
        record = Calibration.load("shipped" if calibration is None else calibration)
        return cls(
            own_scorers(record) if scorers is None else scorers,
            record,
            face=face,
            checkpoints=checkpoints,
            device=device,
            dtype=dtype,
            offload=offload,
            uncertainty_penalty=uncertainty_penalty,
            extra=extra,
            **old,
        )

    @property
    def names(self) -> list[str]:
        """The terms of the scorers."""
        return list(self._names)

    def describe(self) -> dict[str, Any]:
        """What the reward is made of, for a model card: JSON. Loads scorers of other people that were given by name.

        The weights in `terms` are of standardised scores, as `scale` says: as weights by hand they need `standardise`.
        """
        record = self.calibration
        labelled = zip(self._fit.labels, self._fit.terms, strict=True)
        weights = {label: {"weight": term.weight, "mean": term.mean, "std": term.std} for label, term in labelled}
        made_by = {"protocol": record.protocol, "dataset": record.dataset, "command": record.command}
        foreign = {scorer.name: scorer.describe() for scorer in self._scorers.foreign()}
        return {
            "terms": weights,
            "published": self._scorers.published(),
            "scale": SCALE + (WITH_EXTRA if self._extra else ""),
            **({"extra": {name: weights[name]["weight"] for name in self._extra}} if self._extra else {}),
            **({"scorers": foreign} if foreign else {}),
            "uncertainty_penalty": self._uncertainty_penalty,
            "reaction": self._face.describe() if self._face else {"mode": "none"},
            "calibration": {**made_by, "au_source": record.au_source, "library_version": record.library_version},
        }

    def fingerprints(self) -> dict[str, str]:
        """What the numbers in `describe` cannot tell apart, by content: a digest for each scorer, by its term.

        Loads the scorers that were given by name. Also one of the `calibration`, and those of the face.
        """
        digests = {scorer.name: scorer.weights_digest() for scorer in self.scorers}
        digests["calibration"] = self.calibration.fingerprint()
        return digests | (self._face.fingerprints() if self._face else {})

    @property
    def scorers(self) -> list[LoadedScorer]:
        """The scorers, and the one whose towers the face reads; loads those that were given by name."""
        return self._scorers.loaded()

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Refuse prompts that a scorer can never score, before a run draws for them; loads those that may refuse one.

        Raises:
            FergiRewardError: A scorer refuses one.
        """
        for scorer in self._scorers.checking():
            scorer.check_prompts(prompts)

    @property
    def without_gradient(self) -> list[str]:
        """The terms through which no gradient reaches the pixels; loads as `scorers` does."""
        face = [] if self._reader is None or self._reader.is_differentiable else self._reader.tower_terms
        return [*(scorer.name for scorer in self.scorers if not scorer.is_differentiable), *face]

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
        labelled = zip(self._fit.labels, self._fit.terms, strict=True)
        weighed = ", ".join(f"{label} {term.weight:g}" for label, term in labelled)
        return f"{type(self).__name__}({weighed}; weights {self.calibration.protocol})"

    def __dir__(self) -> list[str]:
        """What users call."""
        return [name for name in super().__dir__() if not name.startswith("_") or name.endswith("__")]

    def __call__(
        self, pixels: Tensor, prompts: str | Sequence[str], *, image_ids: Sequence[str] | None = None
    ) -> RewardOutput:
        """Score pixels; gradients reach them, which those of `score` do not.

        Args:
            pixels: Float (B, 3, H, W) in [0, 1], RGB.
            prompts: One per image, or one for all.
            image_ids: One per image, for recorded reactions.

        Raises:
            FergiRewardError: Pixels or prompts are not of that form, or a scorer gave a number that is not finite.
        """
        prompts = prompt_list(prompts, len(pixels))
        scores: dict[str, Tensor] = {}
        with checked_once(pixels) as pixels:
            if torch.is_grad_enabled() and pixels.requires_grad:
                self._check_gradients()
            for scorer in self._scorers.on_device():
                if tower := self._read_tower(scorer):
                    scores |= self._read(tower, *tower.features(pixels, prompts))
                elif unsure := self._says_sigma(scorer):
                    scores |= _with_sigma(unsure, *unsure.with_sigma(pixels, prompts))
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

    def _read_tower(self, scorer: LoadedScorer) -> Towers | None:
        """The scorer, if the face reads its towers."""
        is_read = self._reader is not None and scorer.name == self._reader.tower
        return scorer if is_read and isinstance(scorer, Towers) else None

    def _says_sigma(self, scorer: LoadedScorer) -> Unsure | None:
        """The scorer, if the penalty needs to know how unsure it is."""
        return scorer if scorer.name in self._unsure and isinstance(scorer, Unsure) else None

    def _read(self, tower: Towers, images: Tensor, texts: Tensor) -> dict[str, Tensor]:
        """What the face, and the scorer where the reward weighs it, say of the same embeddings."""
        score = {tower.name: tower.compare(images, texts)} if tower.name in self._names else {}
        return score | (self._reader.read(images, texts) if self._reader else {})

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
            prompts: One per image, or one for all.
            image_ids: One per image, for recorded reactions; by default the paths, where the images are paths.
            batch_size: Images at a time.

        Raises:
            FergiRewardError: An image or prompt cannot be used, or a scorer gave a number that is not finite.
        """
        listed = images if isinstance(images, Tensor) else picture_list(images)
        prompts = prompt_list(prompts, len(listed))
        scores: dict[str, list[Tensor]] = {}
        for start in range(0, max(1, len(listed)), DECODED_ONCE):
            part = listed[start : start + DECODED_ONCE]
            with checked_once(part) if isinstance(part, Tensor) else nullcontext(decoded_once(part)) as held:
                for scorer in self._scorers.on_device():
                    for name, of_part in self._score(scorer, held, prompts[start : start + DECODED_ONCE], batch_size):
                        scores.setdefault(name, []).append(of_part)
        return self.combine(
            {name: torch.cat(parts) for name, parts in scores.items()}, prompts, image_ids or paths_of(listed)
        )

    @torch.no_grad()
    def _score(
        self, scorer: LoadedScorer, held: Sequence[Picture] | Tensor, prompts: list[str], batch_size: int
    ) -> Iterable[tuple[str, Tensor]]:
        if tower := self._read_tower(scorer):
            return self._read(tower, *tower.embed(held, prompts, batch_size=batch_size)).items()
        if unsure := self._says_sigma(scorer):
            return _with_sigma(unsure, *unsure.score_with_sigma(held, prompts, batch_size=batch_size)).items()
        return [(scorer.name, scorer.score(held, prompts, batch_size=batch_size))]

    def combine(
        self, scores: Mapping[str, Tensor], prompts: Sequence[str], image_ids: Sequence[str] | None = None
    ) -> RewardOutput:
        """Standardise, weight and add scores; rows that lack action units take the weights fitted without these.

        Args:
            scores: (B,) from each scorer, by name; on whatever device each lives. With predicted reactions also `au4`,
                the expected valence, and `au4_uncertainty`; with a penalty also `NAME_sigma` of scorers that say it.
            prompts: One per row, for errors.
            image_ids: One per row, for recorded reactions.

        Returns:
            On the device of the first score.

        Raises:
            FergiRewardError: A score is missing or not finite, or reactions cannot be looked up.
        """
        names = [*self._names, *(self._reader.tower_terms if self._reader else ())]
        names += map(sigma_term, self._unsure)
        if set(scores) != set(names):
            raise FergiRewardError(f"the reward weighs {', '.join(names)}, got scores of {', '.join(scores)}")
        device = scores[names[0]].device
        terms = {name: scores[name].to(device, torch.float32) for name in names}
        self._check_scores(terms, prompts)
        parts, reactions, missing = self._contributions(self._without, terms), dict[str, Tensor](), dict[str, Tensor]()
        for face, fit in self._with_face:  # an image that has the units of the next, fuller one takes that instead
            seen = face.terms(fit, terms, image_ids, len(prompts), device)
            lacking = {} if seen.missing is None else dict.fromkeys(fit.units, torch.zeros_like(seen.missing))
            parts = _where_seen(seen, self._contributions(fit, terms) | dict(seen.contributions), parts, 0.0)
            reactions = _where_seen(seen, seen.terms, reactions, math.nan)
            missing = _where_seen(seen, lacking, missing, True)
        return self._output(terms | reactions, parts, missing)

    def _check_scores(self, terms: Mapping[str, Tensor], prompts: Sequence[str]) -> None:
        """Refuse scores that are not finite, and warn once of those that cannot be of the calibration's kind."""
        fitted = self._standardised if self._may_warn else []
        near = [(term.standardised(terms[term.name].detach()).abs() <= FAR).all() for term in fitted]
        finite = torch.stack([values.detach() for values in terms.values()]).isfinite().all()
        is_finite, *are_near = torch.stack([finite, *near]).tolist()  # a GPU is waited for once
        if not is_finite:
            raise _not_finite(terms, prompts)
        if not all(are_near):
            self._may_warn = False
            term = fitted[are_near.index(False)]
            _warn_of_far(term, terms[term.name])

    def _contributions(self, fit: Fit, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What each scorer adds to the total by the weights of a fit."""
        return {term.name: term.contribution(terms[term.name]) for term in fit.terms if term.name in self._names}

    def _output(self, terms: dict[str, Tensor], parts: dict[str, Tensor], missing: dict[str, Tensor]) -> RewardOutput:
        if self._uncertainty_penalty:
            scorers = self._standardised
            standardised = torch.stack([term.standardised(terms[term.name]) for term in scorers])
            variance = standardised.var(dim=0, correction=0)
            for term in scorers:
                if term.name in self._unsure:
                    variance = variance + (terms[sigma_term(term.name)] / term.std) ** 2 / len(scorers)
            disagreement = variance.clamp(min=1e-12).sqrt()  # the root has no gradient at 0
            terms = terms | {DISAGREEMENT: disagreement}
            parts = parts | {DISAGREEMENT: -self._uncertainty_penalty * disagreement}
        return RewardOutput(torch.stack(list(parts.values())).sum(dim=0), terms, parts, missing)


def _where_seen(
    seen: FaceTerms, values: Mapping[str, Tensor], others: Mapping[str, Tensor], absent: float
) -> dict[str, Tensor]:
    """The values of the images whose face was seen, and the other values of those whose face was not."""
    if seen.missing is None:
        return dict(values)
    names = dict.fromkeys([*values, *others])
    return {name: torch.where(seen.missing, others.get(name, absent), values.get(name, absent)) for name in names}


def _with_sigma(scorer: Unsure, score: Tensor, sigma: Tensor) -> dict[str, Tensor]:
    return {scorer.name: score, sigma_term(scorer.name): sigma}


def _check_scorer(calibration: Calibration, reader: TowerReader | None, scorer: LoadedScorer) -> None:
    """Look at a scorer when it is loaded: that it is the one of the weights, and of the face."""
    warn_of_other_weights(calibration, scorer)
    if reader and scorer.name == reader.tower:
        reader.check_tower(scorer)


def _check_penalty(penalty: float, scorers: Sequence[Term], unsure: Sequence[str], calibration: Calibration) -> None:
    if not penalty >= 0 or (penalty and len(scorers) < 2 and not unsure):
        raise FergiRewardError(
            f"uncertainty_penalty is {penalty} with {len(scorers)} scorers: it must be at least 0, and one scorer "
            "alone cannot disagree"
        )
    if penalty and calibration.protocol == RAW:
        raise FergiRewardError("uncertainty_penalty compares standardised scores: give standardise with the weights")


def _not_finite(terms: Mapping[str, Tensor], prompts: Sequence[str]) -> FergiRewardError:
    told = ((name, row, value) for name, values in terms.items() for row, value in enumerate(values.tolist()))
    name, row, value = next(one for one in told if not math.isfinite(one[2]))
    return FergiRewardError(f"{name} gave {value} for image {row}, prompt {prompts[row]!r}")


def _warn_of_far(term: Term, scores: Tensor) -> None:
    far = max(scores.tolist(), key=lambda score: abs(score - term.mean))
    warnings.warn(
        f"{term.name} gave {far:.4g}, and the scores that the calibration was fitted on have the mean {term.mean:.4g} "
        f"and the standard deviation {term.std:.3g}: they may be of another checkpoint, or of prompts that belong to "
        "other images, and the total may mean nothing; look at the prompts, give that checkpoint, or calibrate with "
        "this one",
        FergiRewardWarning,
        stacklevel=4,
    )
