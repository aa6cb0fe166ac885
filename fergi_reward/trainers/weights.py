"""What is trained of a pipeline: an adapter, or all weights of its network; saved, loaded, swapped, and set aside.

Trainers see only `TrainedWeights`. The model that training began with, which KL penalties and Diffusion-DPO compare
with, is the adapter switched off, or for full fine-tuning a frozen copy.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.interrupts import deferred
from fergi_reward.core.parking import CPU
from fergi_reward.core.precision import cast
from fergi_reward.diffusion.family import Pipeline, family_of
from fergi_reward.diffusion.quantised import quantise
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.lora import adapter_disabled, add_lora, load_lora, lora_scale, save_lora
from fergi_reward.trainers.sharding import class_of, collected, is_shard, shard, shard_like


class TrainedWeights(ABC):
    """What is trained of a pipeline.

    Attributes:
        parameters: In float32 whatever the rest is in, since small updates vanish in half precision.
        name: Name of the folder in a run that holds the finished weights.
        are_few: Whether a copy of them after each epoch costs next to nothing.
    """

    parameters: list[nn.Parameter]
    name: str
    are_few: bool

    @abstractmethod
    def reference(self) -> AbstractContextManager[None]:
        """The network as it was before training, inside the block."""

    @abstractmethod
    def writer(self, keeps: bool) -> Callable[[Path], None]:
        """What writes them into a folder that exists. All processes must ask for it, since some have only shards.

        Args:
            keeps: Whether this process writes.
        """

    def rounded_by_saving(self) -> list[Tensor]:
        """The values that `load` would not give back to the bit; empty where it does."""
        return []

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Take the values in a folder.

        Raises:
            FergiRewardError: Its file is missing, damaged or of another model.
        """


class LoRAWeights(TrainedWeights):
    """A fresh LoRA adapter on the pipeline's network; all else is frozen, on `device` and in `dtype`."""

    name, are_few = "lora", True

    def __init__(self, pipeline: Pipeline, config: TrainerConfig, device: torch.device, dtype: torch.dtype) -> None:
        if config.frozen_weights == "nf4":
            quantise(pipeline, device, dtype)
        family = family_of(pipeline)
        family.place(device, dtype, encoders_home(config, device), network_home(config, device))
        lay_out(family.network, config, device)
        self._pipeline = pipeline
        self.parameters = add_lora(
            pipeline,
            rank=config.lora_rank,
            alpha=config.lora_alpha,
            seed=config.seed,
            targets=config.lora_target_modules,
        )
        if config.shard:
            shard(family.network, device, whole=self.parameters)

    def reference(self) -> AbstractContextManager[None]:
        """Without the adapter."""
        return adapter_disabled(self._pipeline)

    def writer(self, keeps: bool) -> Callable[[Path], None]:
        """For `pipeline.load_lora_weights`."""
        return partial(save_lora, self._pipeline)

    def rounded_by_saving(self) -> list[Tensor]:
        """All, where the file holds them times a scale that is no power of two."""
        exact = math.frexp(lora_scale(self._pipeline))[0] == 0.5
        return [] if exact else copied(self.parameters)

    def load(self, folder: Path) -> None:
        """As `save` wrote them."""
        load_lora(self._pipeline, folder)


class FullWeights(TrainedWeights):
    """All weights of the pipeline's network, in float32; all else is frozen and in `dtype`.

    A frozen copy of them is in float32 too: rounded, it would not be the model that training began with, and
    Diffusion-DPO would see a difference before there is one.
    """

    are_few = False

    def __init__(self, pipeline: Pipeline, config: TrainerConfig, device: torch.device, dtype: torch.dtype) -> None:
        family = family_of(pipeline)
        self._pipeline, self.name = pipeline, family.network_name
        self._network = family.network.to(network_home(config, device))
        cast(self._network, torch.float32)
        lay_out(self._network, config, device)
        self._frozen = deepcopy(self._network)
        family.place_other_models(device, dtype, encoders_home(config, device))
        for part in (self._frozen, *family.other_models):
            part.requires_grad_(False)
        self._network.requires_grad_(True)
        if config.shard:
            for network in (self._frozen, self._network):
                shard(network, device)
        self.parameters = list(self._network.parameters())

    @contextmanager
    def reference(self) -> Iterator[None]:
        """With the frozen copy in the network's place."""
        setattr(self._pipeline, self.name, self._frozen)
        try:
            yield
        finally:
            setattr(self._pipeline, self.name, self._network)

    def writer(self, keeps: bool) -> Callable[[Path], None]:
        """For the `from_pretrained` of the network's class."""
        if not is_shard(self.parameters[0]):
            return partial(self._network.save_pretrained)
        state = collected(self._network.state_dict(), keeps)
        with torch.device("meta"):
            whole = class_of(self._network).from_config(self._network.config)  # type: ignore[attr-defined]
        if keeps:
            whole.load_state_dict(state, assign=True)
        return partial(whole.save_pretrained)

    def load(self, folder: Path) -> None:
        """As `save` wrote them."""
        try:
            saved = class_of(self._network).from_pretrained(folder).state_dict()  # type: ignore[attr-defined]
            own = self._network.state_dict()
            self._network.load_state_dict({name: shard_like(value, own.get(name)) for name, value in saved.items()})
        except Exception as error:  # whatever diffusers, safetensors and torch raise for a damaged folder
            reason = " ".join(str(error).split())
            raise FergiRewardError(
                f"the weights in {folder} are missing or damaged ({reason}): resume others"
            ) from error


def attach(pipeline: Pipeline, config: TrainerConfig, device: torch.device, dtype: torch.dtype) -> TrainedWeights:
    """What the options say must be trained; the pipeline moves to `device`, its frozen weights to `dtype`.

    With `offload_encoders` the text encoders move to the CPU.

    Raises:
        FergiRewardError: The pipeline has settings that sampling here does not follow.
    """
    family_of(pipeline).check()
    if config.full_finetuning:
        return FullWeights(pipeline, config, device, dtype)
    return LoRAWeights(pipeline, config, device, dtype)


def lay_out(network: nn.Module, config: TrainerConfig, device: torch.device) -> None:
    """On a GPU put convolutions in the layout that cuDNN computes in: else each converts what it reads and writes."""
    for part in network.modules() if device.type == "cuda" and not config.shard else ():
        if isinstance(part, nn.Conv2d):
            part.to(memory_format=torch.channels_last)


def encoders_home(config: TrainerConfig, device: torch.device) -> torch.device:
    """Where text encoders wait for prompts."""
    return CPU if config.offload_encoders else device


def network_home(config: TrainerConfig, device: torch.device) -> torch.device:
    """Where the network is made ready: what is shared out is never whole on a GPU."""
    return CPU if config.shard else device


def loading_line(pipeline: Pipeline, config: TrainerConfig, folder: str) -> str:
    """The line of Python with which a user loads a folder of finished weights into `pipeline`."""
    if config.full_finetuning:
        family = family_of(pipeline)
        return f"pipeline.{family.network_name} = {class_of(family.network).__name__}.from_pretrained({folder!r})"
    return f"pipeline.load_lora_weights({folder!r})"


@contextmanager
def swapped_in(parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> Iterator[None]:
    """Other values of the parameters, inside the block."""
    own = copied(parameters)
    try:
        overwrite(parameters, values)
        yield
    finally:
        with deferred():  # a signal must not leave half of them
            overwrite(parameters, own)


def copied(parameters: Sequence[Tensor]) -> list[Tensor]:
    """The parameters' values."""
    return [parameter.detach().clone() for parameter in parameters]


@torch.no_grad()
def overwrite(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Give parameters other values, in place; shards take theirs of whole values."""
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(shard_like(value, parameter))
