"""What a run would take, before anything is downloaded: its real passes with shapes alone; see `meta_memory`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from fergi_reward.diffusion.conditioning import Conditioning, Guidance
from fergi_reward.diffusion.family import Pipeline, family_of
from fergi_reward.diffusion.quantised import matrices, quantised_bytes
from fergi_reward.diffusion.trajectory import predict
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.meta_autocast import cast_as_autocast
from fergi_reward.trainers.meta_memory import META, peak_memory
from fergi_reward.trainers.optimisation import moment_numbers
from fergi_reward.trainers.run import WEIGHT_DTYPES
from fergi_reward.trainers.sharding import gathered_sizes, most_kept
from fergi_reward.trainers.totals import counted_processes
from fergi_reward.trainers.weights import TrainedWeights, attach

# Bytes of each number that training keeps for a weight: itself, its gradient, moments, and an average.
FLOAT32 = torch.float32.itemsize


@dataclass(frozen=True)
class DryRun:
    """What a run would take, on each process.

    Attributes:
        parameters: Number of parameters of the whole pipeline, the adapter included.
        trained: Number of parameters that are trained.
        processes: How many train.
        batch: Images in a training batch of one process.
        weights: Bytes of all frozen weights; with full fine-tuning a copy of the network is among them.
        encoders: Bytes of the text encoders if these are on the device only while they encode, before images are
            drawn; else they are among the weights.
        trained_weights: Bytes of what is trained.
        moments: Bytes of what the optimiser keeps for it.
        average: Bytes of its average.
        gathered: Bytes of the blocks that are whole at a time where the network is shared out; else none.
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
    processes: int
    batch: int
    weights: int
    encoders: int
    trained_weights: int
    moments: int
    average: int
    gathered: int
    scorers: int
    sampling: int
    training: int
    images: int
    updates: int
    trained_on: str
    uncounted: tuple[str, ...] = ()
    scorers_on: str | None = None

    @property
    def optimizer(self) -> int:
        """Bytes of what is trained with its gradient, moments and average."""
        return 2 * self.trained_weights + self.moments + self.average

    @property
    def peak(self) -> int:
        """Bytes at the worst moment, on the device that trains."""
        scorers = 0 if self.scorers_on else self.scorers
        return (
            self.weights + self.optimizer + self.gathered + scorers + max(self.encoders, self.sampling, self.training)
        )

    def __str__(self) -> str:
        """A few lines for the terminal."""
        counted = (
            "weights",
            "optimizer",
            *(("gathered",) if self.gathered else ()),
            *(() if self.scorers_on else ("scorers",)),
        )
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
                *([self._held] if self.processes > 1 else []),
            ]
        )

    @property
    def _held(self) -> str:
        """What each process holds in addition to activations."""
        held = {
            "frozen weights": self.weights,
            "trained weights": self.trained_weights,
            "their gradients": self.trained_weights,
            "moments": self.moments,
            **({"average": self.average} if self.average else {}),
            **({"gathered blocks": self.gathered} if self.gathered else {}),
        }
        sizes = ", ".join(f"{name} {size / 1e9:.2f} GB" for name, size in held.items())
        return f"each of {counted_processes(self.processes)} holds {sizes}, and trains in batches of {self.batch}"


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
    trained_on = config.what_is_trained(config.family(pipeline), config.processes)  # refuses what cannot be
    for network in _networks(pipeline):
        network.to(META)
    dtype = WEIGHT_DTYPES[config.mixed_precision]
    quantised = matrices(pipeline) if config.frozen_weights == "nf4" else []
    saved = sum(count * dtype.itemsize - quantised_bytes(count) for count in quantised)
    again = max(quantised, default=0) * dtype.itemsize  # one at a time is whole again, to multiply with
    whole = replace(config, offload_encoders=False, frozen_weights="float", shard=False)
    weights = attach(pipeline, whole, META, dtype)
    count = sum(parameter.numel() for parameter in weights.parameters)
    moments = moment_numbers(config.train_optimizer, weights.parameters)
    frozen, mine, gathered = _frozen_bytes(pipeline, weights), count, 0
    if config.shard:
        frozen -= _frozen_elsewhere(pipeline, weights, config.processes)
        gathered = _gathered_bytes(pipeline, weights)
        if config.full_finetuning:
            mine = most_kept(weights.parameters, config.processes)
            moments = 2 * mine
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
        processes=config.processes,
        batch=config.train_batch_size,
        weights=frozen - parked - saved,
        encoders=parked,
        trained_weights=FLOAT32 * mine,
        moments=FLOAT32 * moments,
        average=FLOAT32 * mine if config.ema_decay else 0,
        gathered=gathered,
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


def _frozen_elsewhere(pipeline: Pipeline, weights: TrainedWeights, processes: int) -> int:
    """Bytes of the network's frozen weights that other processes keep for this one."""
    trained = {id(parameter) for parameter in weights.parameters}
    with weights.reference():
        network = family_of(pipeline).network
        frozen = [parameter for parameter in network.parameters() if id(parameter) not in trained]
    kept = sum(most_kept([parameter], processes) * parameter.itemsize for parameter in frozen)
    return sum(parameter.nbytes for parameter in frozen) - kept


def _gathered_bytes(pipeline: Pipeline, weights: TrainedWeights) -> int:
    """Bytes of what is whole at a time: the outermost part, a block that computes, and one that is fetched meanwhile.

    With full fine-tuning also the gradients of the outermost part and of a block, before they are shared out.
    """
    network = family_of(pipeline).network
    whole = {id(parameter) for parameter in weights.parameters} if weights.are_few else set[int]()
    *blocks, outermost = gathered_sizes(network, whole)
    largest = max(blocks, default=0)
    gradients = 0 if weights.are_few else largest + outermost
    return outermost + 2 * largest + gradients


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
