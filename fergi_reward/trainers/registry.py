"""The trainers by name. What one must offer is written in `TrainerClass`."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.registry import Found, Registry
from fergi_reward.trainers.config import TrainerConfig

if TYPE_CHECKING:
    from fergi_reward.callables.rewards import Reward
    from fergi_reward.diffusion.family import Pipeline

TRAINERS = Registry(
    "trainer",
    {
        "ddpo": "fergi_reward.trainers.ddpo:DDPOTrainer",
        "flow_grpo": "fergi_reward.trainers.flow_grpo:FlowGRPOTrainer",
        "nft": "fergi_reward.trainers.nft:NFTTrainer",
        "reward_backprop": "fergi_reward.trainers.reward_backprop:RewardBackpropTrainer",
        "diffusion_dpo": "fergi_reward.trainers.diffusion_dpo:DiffusionDPOTrainer",
    },
)
# Where the options of the built-in ones are: `--help` imports no algorithm, and so no torch.
CONFIGS = {
    "ddpo": "fergi_reward.trainers.ddpo_config:DDPOConfig",
    "flow_grpo": "fergi_reward.trainers.flow_grpo_config:FlowGRPOConfig",
    "nft": "fergi_reward.trainers.nft_config:NFTConfig",
    "reward_backprop": "fergi_reward.trainers.reward_backprop_config:RewardBackpropConfig",
    "diffusion_dpo": "fergi_reward.trainers.diffusion_dpo_config:DiffusionDPOConfig",
}
LEARN_FROM_PAIRS = {"diffusion_dpo"}
SOURCES = ("reward", "pairs")


class TrainerClass(Protocol):
    """What a trainer's class offers; an entry point of the group `fergi_reward.trainers` names such a class.

    Attributes:
        config_class: All its options: a frozen dataclass on `TrainerConfig`. Its fields are the command line's options;
            its `samples_per_epoch`, `updates_per_epoch`, `picture_batch_size`, `training_memory(pipeline)` and
            `kept_memory(pipeline)` are what a dry run asks; its `needs_gradient` says whether the reward must be
            differentiable.
        learns_from: `reward`: the trainer is made of `(config, reward, pipeline, prompts, judges)`. `pairs`: it is made
            of `(config, pairs, pipeline, prompts, judges, held_out)`, where pairs are `PairTable`s.
    """

    config_class: ClassVar[type[TrainerConfig]]
    learns_from: ClassVar[Literal["reward", "pairs"]]

    def __call__(
        self,
        config: Any,  # noqa: ANN401 - an instance of its own config_class
        source: Any,  # noqa: ANN401 - a Reward or a PairTable
        pipeline: "Pipeline",
        prompts: Sequence[str],
        judges: "Mapping[str, Reward] | None" = None,
        /,
    ) -> "AnyTrainer":
        """A trainer that is ready to run."""


class AnyTrainer(Protocol):
    """What a trainer offers."""

    config: Any

    def train(self) -> Path:
        """Train to the end; returns the folder of the finished weights."""


def find_trainer(name: str) -> Found:
    """The class of a trainer, with who brings it.

    Raises:
        FergiRewardError: There is none of that name, or what the name stands for is no `TrainerClass`.
    """
    found = TRAINERS.get(name)
    if missing := list(_lacks(found.target)):
        raise FergiRewardError(f"the trainer {name!r} ({found.origin}) must have {' and '.join(missing)}")
    return found


def find_options(name: str) -> tuple[Literal["reward", "pairs"], type[TrainerConfig]]:
    """What a trainer learns from, and the class of its options; a built-in trainer is not imported.

    Raises:
        FergiRewardError: As `find_trainer`.
    """
    if name in CONFIGS:
        module, _, attribute = CONFIGS[name].partition(":")
        return "pairs" if name in LEARN_FROM_PAIRS else "reward", getattr(import_module(module), attribute)
    trainer = find_trainer(name).target
    return trainer.learns_from, trainer.config_class


def _lacks(target: object) -> list[str]:
    """What keeps an object from being a `TrainerClass`."""
    config_class = getattr(target, "config_class", None)
    is_config = isinstance(config_class, type) and issubclass(config_class, TrainerConfig)
    offers = {
        "a config_class that is a TrainerConfig": is_config,
        f"a learns_from that is one of {', '.join(SOURCES)}": getattr(target, "learns_from", None) in SOURCES,
        "a method train": isinstance(target, type) and callable(getattr(target, "train", None)),
    }
    return [what for what, is_there in offers.items() if not is_there]
