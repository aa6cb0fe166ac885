"""What a run would take, before anything is downloaded: its real passes on the meta device, which computes only shapes.

Memory is counted, not modelled: every tensor that a pass makes is followed from its birth to its end.
"""

import math
import weakref
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from fergi_reward.diffusion.conditioning import Conditioning, Guidance
from fergi_reward.diffusion.family import Pipeline, family_of
from fergi_reward.diffusion.quantised import matrices, quantised_bytes
from fergi_reward.diffusion.trajectory import predict
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.meta_autocast import cast_as_autocast
from fergi_reward.trainers.optimisation import moment_numbers
from fergi_reward.trainers.run import WEIGHT_DTYPES
from fergi_reward.trainers.totals import launched_processes
from fergi_reward.trainers.weights import TrainedWeights, attach

META = torch.device("meta")
# Bytes of each number that training keeps for a weight: itself, its gradient, moments, and an average.
FLOAT32 = torch.float32.itemsize


@dataclass(frozen=True)
class DryRun:
    """What a run would take, on each process.

    Attributes:
        parameters: Number of parameters of the whole pipeline, the adapter included.
        trained: Number of parameters that are trained.
        weights: Bytes of all frozen weights; with full fine-tuning a copy of the network is among them.
        encoders: Bytes of the text encoders if these are on the device only while they encode, before images are
            drawn; else they are among the weights.
        optimizer: Bytes of what is trained with its gradient, moments and average.
        scorers: Bytes of the reward's and the judges' weights.
        scorers_on: Where these are, if not with the model.
        sampling: Peak bytes of the activations while images are drawn, and of what an epoch keeps for training.
        training: Peak bytes of the activations in training, without those inside the scorers, and of what it keeps.
        images: That are generated for training, by all epochs.
        updates: Optimiser steps.
        trained_on: What is in an update, as a run says at its start.
        uncounted: Scorers whose size is not known; they are not in `scorers`.
    """

    parameters: int
    trained: int
    weights: int
    encoders: int
    optimizer: int
    scorers: int
    sampling: int
    training: int
    images: int
    updates: int
    trained_on: str
    uncounted: tuple[str, ...] = ()
    scorers_on: str | None = None

    @property
    def peak(self) -> int:
        """Bytes at the worst moment, on the device that trains."""
        scorers = 0 if self.scorers_on else self.scorers
        return self.weights + self.optimizer + scorers + max(self.encoders, self.sampling, self.training)

    def __str__(self) -> str:
        """A few lines for the terminal."""
        counted = ("weights", "optimizer", *(() if self.scorers_on else ("scorers",)))
        parts = {name: f"{getattr(self, name) / 1e9:.1f}" for name in counted}
        waiting = f", text encoders {self.encoders / 1e9:.1f} while they encode" if self.encoders else ""
        inside = "those inside the scorers not counted"
        if self.uncounted:
            inside += f", nor the weights of {', '.join(self.uncounted)}, which do not say their parameter_count"
        passes = f"sampling {self.sampling / 1e9:.1f} or training {self.training / 1e9:.1f}"
        elsewhere = f"scorers               {self.scorers / 1e9:.1f} GB on {self.scorers_on}"
        return "\n".join(
            [
                f"parameters            {self.parameters:,}",
                f"trainable parameters  {self.trained:,}",
                f"optimiser steps       {self.updates:,}",
                f"images to generate    {self.images:,} on each process",
                self.trained_on,
                f"estimated peak memory {self.peak / 1e9:.1f} GB on each device: "
                + ", ".join(f"{name} {size}" for name, size in parts.items())
                + f", activations of {passes} ({inside}){waiting}",
                *([elsewhere] if self.scorers_on else []),
            ]
        )


def dry_run(
    config: TrainerConfig,
    pipeline: Pipeline,
    scorers: Mapping[str, int | None],
    *,
    offloaded: Mapping[str, int | None] | None = None,
    scorer_dtype: torch.dtype = torch.float32,
    scorers_on: str | None = None,
) -> DryRun:
    """Take the passes of a run with shapes alone.

    Args:
        config: Options of any trainer; it says what its passes with gradients take.
        pipeline: Whose networks are on the meta device or may be moved there.
        scorers: Scorers that the reward weighs or that judge: by name, their number of parameters, if it is known.
        offloaded: The same of those of which one at a time is on the device.
        scorer_dtype: What all of these are loaded in.
        scorers_on: Where all of these are, if not with the model.
    """
    family = family_of(pipeline)
    trained_on = config.what_is_trained(config.family(pipeline), launched_processes())  # refuses what cannot be
    for network in _networks(pipeline):
        network.to(META)
    dtype = WEIGHT_DTYPES[config.mixed_precision]
    quantised = matrices(pipeline) if config.frozen_weights == "nf4" else []
    saved = sum(count * dtype.itemsize - quantised_bytes(count) for count in quantised)
    again = max(quantised, default=0) * dtype.itemsize  # one at a time is whole again, to multiply with
    weights = attach(pipeline, replace(config, offload_encoders=False, frozen_weights="float"), META, dtype)
    count = sum(parameter.numel() for parameter in weights.parameters)
    moments = moment_numbers(config.train_optimizer, weights.parameters)
    for parameter in weights.parameters:
        # Autocast multiplies in the dtype of the frozen weights, which is what activations are kept in.
        parameter.data = parameter.data.to(dtype)
    cast_as_autocast(family.network, dtype)
    if config.gradient_checkpointing:
        family.checkpoint_gradients()
    kept = config.kept_memory(pipeline)
    encoders = family.text_encoders if config.offload_encoders else []
    parked = sum(parameter.nbytes for encoder in encoders for parameter in encoder.parameters())
    return DryRun(
        parameters=sum(parameter.numel() for network in _networks(pipeline) for parameter in network.parameters()),
        trained=count,
        weights=_frozen_bytes(pipeline, weights) - parked - saved,
        encoders=parked,
        optimizer=FLOAT32 * (count * (3 if config.ema_decay else 2) + moments),
        scorers=(
            sum(size or 0 for size in scorers.values())
            + max((size or 0 for size in (offloaded or {}).values()), default=0)
        )
        * scorer_dtype.itemsize,
        sampling=peak_memory(lambda: _sampling_pass(config, pipeline)) + kept + again,
        training=config.training_memory(pipeline) + kept + again,
        images=config.num_epochs * config.samples_per_epoch,
        updates=config.num_epochs * config.updates_per_epoch,
        trained_on=trained_on,
        uncounted=tuple(name for name, size in (*scorers.items(), *(offloaded or {}).items()) if size is None),
        scorers_on=scorers_on,
    )


def _networks(pipeline: Pipeline) -> list[nn.Module]:
    family = family_of(pipeline)
    return [family.network, *family.other_models]


def _frozen_bytes(pipeline: Pipeline, weights: TrainedWeights) -> int:
    """Bytes of the model that training began with."""
    trained = {id(parameter) for parameter in weights.parameters}
    with weights.reference():
        parameters = [parameter for network in _networks(pipeline) for parameter in network.parameters()]
    return sum(parameter.nbytes for parameter in parameters if id(parameter) not in trained)


def latents_bytes(config: TrainerConfig, pipeline: Pipeline) -> int:
    """Bytes of the latents of one image, in float32."""
    return math.prod(config.family(pipeline).latent_shape) * torch.float32.itemsize


def conditioning_bytes(config: TrainerConfig, pipeline: Pipeline) -> int:
    """Bytes of the conditioning of one image, in the network's data type."""
    return config.family(pipeline).empty_conditioning(1).nbytes


@torch.no_grad()
def _sampling_pass(config: TrainerConfig, pipeline: Pipeline) -> None:
    """One step of drawing pictures, and their decoding."""
    family = config.family(pipeline)
    latents, conditioning, guidance = inputs(config, pipeline, config.picture_batch_size)
    network, timesteps = family.denoiser(config.sample_guidance_scale), torch.ones(len(latents), device=META)
    family.decode(predict(network, latents, timesteps, conditioning, guidance)[0])


def prediction_memory(config: TrainerConfig, pipeline: Pipeline, images: int, *, guided: bool = True) -> int:
    """Peak bytes of one prediction for each of so many images, and of its backward pass."""
    network = family_of(pipeline).denoiser(config.sample_guidance_scale)

    def work() -> None:
        latents, conditioning, guidance = inputs(config, pipeline, images)
        timesteps = torch.ones(len(latents), device=META)
        backward(predict(network, latents, timesteps, conditioning, guidance if guided else None)[0])

    return peak_memory(work)


def backward(result: Tensor) -> None:
    """The backward pass from the mean of a result."""
    # Not result.mean().backward(), which would switch the modes off that watch over the pass.
    torch.autograd.backward(result.mean())


def inputs(config: TrainerConfig, pipeline: Pipeline, batch: int) -> tuple[Tensor, Conditioning, Guidance | None]:
    """Latents (B, C, H, W), conditioning and guidance of so many images, as shapes alone."""
    family, scale = config.family(pipeline), config.sample_guidance_scale
    conditioning = family.empty_conditioning(batch)
    absence = conditioning[torch.zeros(1, dtype=torch.long, device=META)]
    guidance = Guidance(scale, absence) if family.is_guided(scale) else None
    return torch.empty(batch, *family.latent_shape, device=META), conditioning, guidance


def peak_memory(work: Callable[[], object]) -> int:
    """The most bytes that the tensors which `work` makes take at a time."""
    with _Watch() as watch, _fused_attention():
        work()
    return watch.peak


class _Watch(TorchDispatchMode):
    """Follows the storage of every tensor that an operation returns; views of what was there before do not count."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._alive: dict[int, tuple[int, weakref.ref[torch.UntypedStorage]]] = {}
        self._given: set[int] = set()
        self._total = 0
        self._known: dict[Hashable, _Made | None] = {}

    def __torch_dispatch__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        given: list[Tensor] = []
        call = (function, _described(args, given), _described(tuple((kwargs or {}).items()), given))
        self._given |= {key for tensor in given if (key := _key(tensor)) not in self._alive}
        made = self._known.get(call)
        result = made() if made else function(*args, **(kwargs or {}))
        if call not in self._known:
            self._known[call] = _made(result, given)
        results: list[Tensor] = []
        _described(result, results)
        for tensor in results:
            self._follow(tensor)
        return result

    def _follow(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._alive and key not in self._given:
            size = storage.nbytes()
            self._alive[key] = size, weakref.ref(storage, lambda _: self._forget(key))
            self._total += size
            self.peak = max(self.peak, self._total)

    def _forget(self, key: int) -> None:
        self._total -= self._alive.pop(key)[0]


@dataclass(frozen=True)
class _Made:
    """Tensors that an operation makes whenever it is given the same shapes: to work them out takes it much longer."""

    layouts: tuple[tuple[torch.Size, tuple[int, ...], torch.dtype] | None, ...]
    several: type | None

    def __call__(self) -> Any:  # noqa: ANN401
        made = [
            None if layout is None else torch.empty_strided(layout[0], layout[1], dtype=layout[2], device=META)
            for layout in self.layouts
        ]
        return self.several(made) if self.several else made[0]


def _made(result: object, given: Sequence[Tensor]) -> _Made | None:
    """What `result` consists of, unless it is anything but whole new tensors and gradients that nobody asked for."""
    several = type(result) if type(result) in (tuple, list) else None
    parts: list[Any] = list(result) if isinstance(result, (tuple, list)) else [result]
    tensors = [part for part in parts if part is not None]
    if not tensors or not all(isinstance(tensor, Tensor) and tensor.is_meta for tensor in tensors):
        return None
    made = _Made(tuple(None if part is None else (part.size(), part.stride(), part.dtype) for part in parts), several)
    of_its_own = len({*map(_key, tensors), *map(_key, given)}) == len(tensors) + len({*map(_key, given)})
    again = [part for part in (made() if several else [made()]) if part is not None]
    whole = all(_bytes(ours) == _bytes(theirs) for ours, theirs in zip(again, tensors, strict=True))
    return made if of_its_own and whole else None


def _described(value: object, tensors: list[Tensor]) -> Hashable:
    """What of an operation's arguments decides the shapes of its results; types, too, since 1 == 1.0 == True.

    The tensors on the meta device among them are added to `tensors`.
    """
    if isinstance(value, Tensor):
        if not value.is_meta:  # only shapes on the meta device say all; a number that is a tensor is like no other
            return object()
        tensors.append(value)
        return value.size(), value.stride(), value.dtype
    if isinstance(value, (tuple, list)):
        return tuple([_described(part, tensors) for part in value])
    return type(value), value


def _bytes(tensor: Tensor) -> int:
    return tensor.untyped_storage().nbytes()


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


@contextmanager
def _fused_attention() -> Iterator[None]:
    """Attention as GPUs compute it: without a matrix of all pairs, which the meta device would make."""
    original = functional.scaled_dot_product_attention

    def fused(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:  # noqa: ANN401
        query, key = query.to(value.dtype), key.to(value.dtype)  # where norms left them in float32
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value)[0]

    functional.scaled_dot_product_attention = fused
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = original
