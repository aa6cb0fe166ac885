"""A training run from its options: the pipeline, the reward or the pairs, the judges, the trainer."""

from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path

import torch

from fergi_reward.callables.rewards import Reward, check_gradients
from fergi_reward.core.devices import named_device, training_device
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.options import Options
from fergi_reward.core.parking import CPU
from fergi_reward.core.registry import Found, blaming
from fergi_reward.diffusion.load import load_pipeline
from fergi_reward.diffusion.published import PUBLISHED, on_meta
from fergi_reward.diffusion.registry import is_toys_own
from fergi_reward.diffusion.rewards import load_reward, load_toy_scorer, reward_scorers
from fergi_reward.files.prompts import read_prompts
from fergi_reward.remote_reward import RemoteReward
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.foreign import LoadedScorer
from fergi_reward.scorers.registry import is_differentiable, load_scorer, parameter_count, term_name
from fergi_reward.scorers.scorer_set import ParkedScorer
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.dry_run import DryRun, dry_run
from fergi_reward.trainers.held_out import check_held_out
from fergi_reward.trainers.options import PairTrainingOptions, RewardTrainingOptions, TrainingOptions
from fergi_reward.trainers.pairs import load_table
from fergi_reward.trainers.preflight import check_can_start
from fergi_reward.trainers.run import check_output


def train(trainer: Found, options: TrainingOptions, config: TrainerConfig) -> Path | DryRun:
    """Train, or with `dry_run` only say what that would take.

    Args:
        trainer: A `TrainerClass`, with who brings it: whatever else it raises is one sentence that names it.
        options: `RewardTrainingOptions` or `PairTrainingOptions`, as it learns from.
        config: The trainer's own options.

    Returns:
        The folder of the finished weights, or what the run would take.

    Raises:
        FergiRewardError: An option, or what it names, cannot be used.
    """
    check_places(options, config)
    check_is_read(options, config)
    prompts = read_prompts(options.prompts)
    blamed = blaming(f"the trainer {trainer.target.__name__}", trainer.origin)
    if options.dry_run:
        with blamed:
            return rehearse(options, config)
    check_can_start(config)
    check_output(config)
    if isinstance(options, PairTrainingOptions):
        pairs = load_table(options.pairs, split=options.pairs_split, streaming=options.streaming)
        held = options.held_out
        held_out = load_table(held, split=options.held_out_split, streaming=True) if held else None
        judges = load_judges(options, None)
        learned: tuple[object, ...] = (config, pairs, load_pipeline(options.model), prompts, judges, held_out)
    else:
        assert isinstance(options, RewardTrainingOptions)
        reward = _reward(options, config, prompts)
        judges = load_judges(options, reward)
        learned = (config, reward, load_pipeline(options.model), prompts, judges)
    with blamed:
        finished: Path = trainer.target(*learned).train()
    return finished


def rehearse(options: TrainingOptions, config: TrainerConfig) -> DryRun:
    """What the run would take; a model that is not among the published ones is loaded for it."""
    is_published = options.model in PUBLISHED.names()
    pipeline = on_meta(options.model) if is_published else load_pipeline(options.model)
    asked = reward_scorers(options) if isinstance(options, RewardTrainingOptions) and _scores_here(options) else []
    judges = options.judges or []
    if config.needs_gradient:
        check_gradients(name for name in asked if not is_differentiable(name))
    parked = [*(asked if _parks_reward(options, config) else []), *(judges if options.offload_scorers else [])]
    is_tiny = partial(is_toys_own, options.model, checkpoints=options.checkpoints)
    counted = [name for name in (*asked, *judges) if not is_tiny(name)]
    return dry_run(
        config,
        pipeline,
        {name: parameter_count(name) for name in counted if name not in parked},
        offloaded={name: parameter_count(name) for name in counted if name in parked},
        scorer_dtype=getattr(torch, options.scorer_dtype),
        scorers_on=options.reward_device,
    )


def check_places(options: TrainingOptions, config: TrainerConfig) -> None:
    """Refuse to park scorers, or to have them elsewhere, where there are none.

    Raises:
        FergiRewardError: The only scorers to park are those that a gradient goes through, or there are none; a gradient
            would have to come from a server.
    """
    if config.needs_gradient and isinstance(options, RewardTrainingOptions) and options.reward_url:
        raise FergiRewardError(
            "reward_url is given, but this trainer needs the reward's gradient, which comes over no network: leave it "
            "out, or train with DDPO, Flow-GRPO or DiffusionNFT"
        )
    if options.reward_device and not (options.judges or _scores_here(options)):
        raise FergiRewardError(
            f"reward_device is {options.reward_device}, but there is no scorer to put there: "
            "name judges, or leave it out"
        )
    if options.offload_scorers and not (options.judges or _parks_reward(options, config)):
        raise FergiRewardError(
            "offload_scorers is on, but there is no scorer to park: a gradient needs the reward's where they are, and "
            "no judges are named; leave it out"
        )


def check_is_read(options: TrainingOptions, config: TrainerConfig) -> None:
    """Refuse options of judges without judges, and of held-out pairs without such pairs.

    Raises:
        FergiRewardError: There are some; it names all.
    """
    given = _changed(config, "judge_", "stop_when_judge_falls") if not options.judges else []
    found = [f"{option} without judges" for option in given]
    if isinstance(options, PairTrainingOptions) and not options.held_out:
        changed = [*_changed(config, "held_out_"), *_changed(options, "held_out_")]
        found += [f"{option} without held_out" for option in changed]
    if found:
        raise FergiRewardError(f"{'; '.join(found)}: nothing reads it, leave it out")


def _changed(record: Options, *prefixes: str) -> list[str]:
    """The options with such names that have another value than their default, with it."""
    own = {item.name: item.default for item in fields(record) if item.name.startswith(prefixes)}
    return [f"{name} is {getattr(record, name)}" for name, default in own.items() if getattr(record, name) != default]


def _scores_here(options: TrainingOptions) -> bool:
    """Whether scorers of a reward are in this process."""
    return isinstance(options, RewardTrainingOptions) and not options.reward_url


def _scorers_device(options: TrainingOptions) -> torch.device:
    """Where scorers compute."""
    return named_device(options.reward_device, "--reward-device") if options.reward_device else training_device()


def _parks_reward(options: TrainingOptions, config: TrainerConfig) -> bool:
    """Whether the reward's scorers wait on the CPU: not where a gradient goes through them."""
    return options.offload_scorers and _scores_here(options) and not config.needs_gradient


def _reward(
    options: RewardTrainingOptions, config: TrainerConfig, prompts: Sequence[str]
) -> CombinedReward | RemoteReward:
    """What is learned from: scorers here, which can score all prompts, or a server."""
    if options.reward_url:
        return RemoteReward(
            options.reward_url, token_file=options.reward_token_file, time_limit=options.reward_time_limit
        )
    reward = load_reward(options, on=_scorers_device(options), offload=_parks_reward(options, config))
    reward.check_prompts(prompts)
    return reward


def load_judges(options: TrainingOptions, reward: CombinedReward | RemoteReward | None) -> dict[str, Reward]:
    """The held-out judges by the names of their terms, on this process's device, or parked on the CPU.

    Raises:
        FergiRewardError: The reward weighs one of them.
    """
    names = {term_name(name): name for name in options.judges or []}
    check_held_out(names, reward)
    judges = {term: _load_judge(options, name) for term, name in names.items()}
    if options.offload_scorers:
        return {term: ParkedScorer(judge, _scorers_device(options)) for term, judge in judges.items()}
    return dict(judges)


def _load_judge(options: TrainingOptions, name: str) -> LoadedScorer:
    dtype = getattr(torch, options.scorer_dtype)
    if is_toys_own(options.model, name, options.checkpoints):
        return load_toy_scorer(options.model, name, dtype).to(_scorers_device(options))
    device = CPU if options.offload_scorers else _scorers_device(options)
    return load_scorer(name, (options.checkpoints or {}).get(name), device=device, dtype=dtype)
