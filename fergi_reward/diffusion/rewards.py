"""Loads the reward of what a model draws; a toy has its own scorers and calibration in place of the published ones."""

import torch

from fergi_reward.calibration.calibration import Calibration
from fergi_reward.calibration.options import SHIPPED
from fergi_reward.calibration.own_scorers import own_scorers
from fergi_reward.core.devices import training_device
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.diffusion.options import RewardOptions
from fergi_reward.diffusion.registry import is_toys_own, toy_of
from fergi_reward.faces.predicted import TOWER, Predicted
from fergi_reward.faces.predictor import ReactionPredictor
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.base import TowerScorer
from fergi_reward.scorers.foreign import LoadedScorer
from fergi_reward.scorers.registry import term_name


def weighed_scorers(options: RewardOptions) -> list[str]:
    """The scorers that are weighed."""
    return list(options.scorers or options.weighed or own_scorers(_weights(options)))


def reward_scorers(options: RewardOptions) -> list[str]:
    """The scorers that are weighed or added, and the one whose towers a predictor reads."""
    names = [*weighed_scorers(options), *(options.extra or {})]
    return [*names, TOWER] if options.predictor and TOWER not in names else names


def _weights(options: RewardOptions) -> Calibration:
    if by_hand := options.weights_by_hand():
        return by_hand
    toy = toy_of(options.model)
    if options.calibration is None and toy and toy.calibration:
        return toy.calibration()
    return Calibration.load(options.calibration or SHIPPED)


def _face(options: RewardOptions) -> Predicted | None:
    """The predicted face, where a predictor is named."""
    if not options.predictor:
        return None
    return Predicted(ReactionPredictor.load(options.predictor), options.reaction_pessimism, options.accept_chance)


def load_reward(
    options: RewardOptions,
    *,
    on: torch.device | None = None,
    offload: bool = False,
) -> CombinedReward:
    """The weighted reward; published scorers are loaded when they first score.

    Args:
        options: Its scorers, their dtype, and its weights.
        on: Where it scores; by default on this process's device.
        offload: Whether scorers wait on the CPU for their turn.

    Raises:
        FergiRewardError: The calibration, the predictor or a toy's scorer cannot be loaded.
    """
    model, names, on = options.model, weighed_scorers(options), on or training_device()
    dtype, places, toy = getattr(torch, options.scorer_dtype), options.reward_checkpoints, toy_of(options.model)
    extra = options.extra or {}
    if toy and TOWER in toy.checkpoints and TOWER in reward_scorers(options) and TOWER not in (*names, *extra):
        places.setdefault(TOWER, str(toy.checkpoints[TOWER]))
    own = {
        name: load_toy_scorer(model, name, dtype).to(on)
        for name in (*names, *extra)
        if is_toys_own(model, name, places)
    }
    return CombinedReward(
        [own.get(name, name) for name in names],
        _weights(options),
        extra={name: (own[name], weight) if name in own else weight for name, weight in extra.items()},
        face=_face(options),
        checkpoints=places,
        device=on,
        dtype=dtype,
        offload=offload,
        uncertainty_penalty=options.uncertainty_penalty,
    )


def load_toy_scorer(model: str, name: str, dtype: torch.dtype | None = None) -> LoadedScorer:
    """The scorer that comes with a toy model, of a published one's architecture, on this process's device.

    Args:
        model: The toy.
        name: Name of the scorer.
        dtype: Data type of its towers; by default float32.

    Raises:
        FergiRewardError: The toy has no such scorer.
    """
    toy = toy_of(model)
    scorers = toy.scorers if toy else {}
    if term_name(name) not in scorers:
        raise FergiRewardError(f"the toy {model} has no scorer {name!r}: choose from {', '.join(scorers)}")
    scorer = scorers[term_name(name)]()
    for tower in scorer.towers() if dtype and isinstance(scorer, TowerScorer) else ():
        tower.to(dtype)
    return scorer.to(training_device()).requires_grad_(False)
