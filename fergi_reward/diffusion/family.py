"""A model family: all that one kind of text-to-image pipeline does in its own way.

Everything else sees a network that maps latents, timesteps and a `Conditioning` to a prediction. `families/` holds one
file per family; other packages add theirs as entry points of the group `fergi_reward.families`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.precision import cast
from fergi_reward.core.registry import Registry, blaming
from fergi_reward.diffusion import autoencoder
from fergi_reward.diffusion.conditioning import Conditioning, Guidance
from fergi_reward.diffusion.schedule import Schedule

# The pipelines of diffusers have no useful common type: `family_of` tells their classes apart.
Pipeline = Any
# From latents (B, C, H, W), timesteps (B,) and what to draw to the prediction (B, C, H, W).
Network = Callable[[Tensor, Tensor, Conditioning], Tensor]

# By the name of the pipeline's class; subclasses belong to the family of the nearest class that is named here.
FAMILIES = Registry(
    "family",
    {
        "StableDiffusionPipeline": "fergi_reward.diffusion.families.stable_diffusion:StableDiffusion",
        "StableDiffusionXLPipeline": "fergi_reward.diffusion.families.stable_diffusion_xl:StableDiffusionXL",
        "StableDiffusion3Pipeline": "fergi_reward.diffusion.families.stable_diffusion_3:StableDiffusion3",
        "FluxPipeline": "fergi_reward.diffusion.families.flux:Flux",
        "SanaPipeline": "fergi_reward.diffusion.families.sana:Sana",
        "QwenImagePipeline": "fergi_reward.diffusion.families.qwen_image:QwenImage",
        "ZImagePipeline": "fergi_reward.diffusion.families.z_image:ZImage",
        "Flux2Pipeline": "fergi_reward.diffusion.families.flux2:Flux2",
        "Flux2KleinPipeline": "fergi_reward.diffusion.families.flux2:Flux2Klein",
    },
    plural="families",
)


class Family(ABC):
    """One pipeline as the trainers see it.

    A subclass says what is abstract here, and overrides what its pipelines do otherwise: defaults are those of a
    transformer with classifier-free guidance and an `AutoencoderKL`.

    Attributes:
        pipeline: Pipeline of diffusers. Its components may be exchanged: they are looked up when they are asked for.
        resolution: Height and width in pixels of what is drawn; None for those that the network was made for.
        max_sequence_length: Tokens of a prompt that T5, or a language model, reads; None for the pipeline's own.
        longest_sequence: The most that there can be of these; 0 where the length of prompts cannot be chosen.
        network_name: The component that denoises, as the pipeline calls it.
        lora_targets: Ends of the names of the layers that an adapter changes: the projections of attention, what
            diffusers' own LoRA programs train; the second line is a transformer's text stream.
        vae_class: The class of diffusers that `decode` and `encode_pictures` are written for; a subclass will do.
        upcasts_vae: Whether a VAE whose config says `force_upcast` stays in float32 where all else is float16.
        trains_with_cudnn_attention: Whether CUDA may compute attention by cuDNN, its first choice on some cards.
    """

    network_name: ClassVar[str] = "transformer"
    lora_targets: ClassVar[Sequence[str]] = (
        *("to_q", "to_k", "to_v", "to_out.0"),
        *("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"),
    )
    vae_class: ClassVar[str] = "AutoencoderKL"
    upcasts_vae: ClassVar[bool] = True
    trains_with_cudnn_attention: ClassVar[bool] = True

    longest_sequence: ClassVar[int] = 0
    resolution: int | None = None
    max_sequence_length: int | None = None

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    @abstractmethod
    def encode(self, prompts: list[str], *, negative: bool) -> Conditioning:
        """B prompts as the network reads them, by the pipeline's own text encoders, on their device.

        Args:
            prompts: Of B images.
            negative: As the pipeline encodes them where guidance leads away from them.
        """

    @abstractmethod
    def empty_conditioning(self, images: int) -> Conditioning:
        """A conditioning of the right shapes and dtypes on the network's device, whose numbers mean nothing."""

    @abstractmethod
    def predict(self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning, guidance_scale: float) -> Tensor:
        """One call of the network.

        Args:
            latents: (B, C, H, W), whatever form the network itself wants.
            timesteps: (B,) as the schedule tells them.
            conditioning: Of B images.
            guidance_scale: For networks that take it.

        Returns:
            (B, C, H, W) noise, velocity, or what else the schedule understands.
        """

    def denoiser(self, guidance_scale: float) -> Network:
        """The network as samplers and trainers call it: `predict` with this guidance.

        Raises:
            FergiRewardError: When it is called and `predict` gives another shape, which would spread unnoticed.
        """

        def network(latents: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
            prediction = self.predict(latents, timesteps, conditioning, guidance_scale)
            if prediction.shape != latents.shape:
                raise FergiRewardError(
                    f"{type(self).__name__}.predict gave {tuple(prediction.shape)} for latents of "
                    f"{tuple(latents.shape)}: both must have one shape"
                )
            return prediction

        return network

    @abstractmethod
    def schedule(self, num_steps: int, device: torch.device) -> Schedule:
        """The steps from noise to image that the pipeline's own noise schedule leaves to take."""

    @abstractmethod
    def training_schedule(self, device: torch.device) -> Schedule:
        """All the noise levels that the pipeline's network was trained at."""

    @property
    def network(self) -> Any:  # noqa: ANN401  # a UNet or a transformer of diffusers
        """The component that denoises."""
        return getattr(self.pipeline, self.network_name)

    @property
    def other_models(self) -> list[nn.Module]:
        """All models of the pipeline but the one that denoises."""
        parts, network = self.pipeline.components.values(), self.network
        return [part for part in parts if isinstance(part, nn.Module) and part is not network]

    @property
    def text_encoders(self) -> list[nn.Module]:
        """The models of the pipeline that read prompts."""
        parts = self.pipeline.components.items()
        return [part for name, part in parts if name.startswith("text_encoder") and isinstance(part, nn.Module)]

    @property
    def text_device(self) -> torch.device:
        """Where prompts are encoded."""
        return next(self.text_encoders[0].parameters()).device

    @property
    def native_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the latents at the resolution that the network was made for."""
        config = self.network.config
        size = config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        return config.in_channels, height, width

    @property
    def pixels_per_latent(self) -> int:
        """Height, and width, in pixels of what one latent stands for."""
        return int(self.pipeline.vae_scale_factor)

    @property
    def resolution_multiple(self) -> int:
        """What `resolution` must be a multiple of: here latents in patches, if the network has `patch_size`."""
        return self.pixels_per_latent * int(getattr(self.network.config, "patch_size", None) or 1)

    @property
    def largest_resolution(self) -> int | None:
        """The largest `resolution` that the network has places for, None where there is no limit."""
        return None

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the latents at `resolution`."""
        if self.resolution is None:
            return self.native_shape
        side = self.resolution // self.pixels_per_latent
        return self.native_shape[0], side, side

    @property
    def picture_size(self) -> tuple[int, int]:
        """Height and width in pixels at `resolution`."""
        _, height, width = self.latent_shape
        return height * self.pixels_per_latent, width * self.pixels_per_latent

    def is_guided(self, scale: float) -> bool:
        """Whether a scale takes classifier-free guidance: a second prediction, without a prompt."""
        return scale > 1

    @property
    def reads_guidance(self) -> bool:
        """Whether a scale changes the prediction; not where a model was distilled to do without."""
        return True

    @torch.no_grad()
    def guidance(self, scale: float) -> Guidance | None:
        """The classifier-free guidance of a scale, None where there is none."""
        return Guidance(scale, self.encode([""], negative=True)) if self.is_guided(scale) else None

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str]) -> Conditioning:
        """The conditioning of B prompts.

        Raises:
            FergiRewardError: `encode` gives another number of rows.
        """
        encoded = self.encode(list(prompts), negative=False)
        if len(encoded.prompt_embeds) != len(prompts):
            raise FergiRewardError(
                f"{type(self).__name__}.encode gave {len(encoded.prompt_embeds)} rows for {len(prompts)} prompts: "
                "it must give one per prompt"
            )
        return encoded

    def cropped(
        self, conditioning: Conditioning, sizes: Sequence[tuple[int, int]], corners: Sequence[tuple[int, int]]
    ) -> Conditioning:
        """The conditioning of pictures that were cropped, for a network that takes this as input.

        Args:
            conditioning: Of B pictures.
            sizes: B heights and widths in pixels before they were cropped.
            corners: B numbers of rows at the top and columns at the left that are gone.
        """
        return conditioning

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, C, H, W) as pixels (B, 3, height, width) in [0, 1], float32 at least."""
        return autoencoder.decode(self.pipeline.vae, latents)

    def encode_pictures(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, height, width) in [0, 1] as latents (B, C, H, W); see `autoencoder.encode`."""
        return autoencoder.encode(self.pipeline.vae, pixels)

    def check(self) -> None:
        """Refuse a pipeline with settings that change its pictures, and that sampling here does not follow.

        Raises:
            FergiRewardError: It has another kind of VAE, or such a setting.
        """
        kinds = [kind.__name__ for kind in type(self.pipeline.vae).__mro__]
        if self.vae_class not in kinds:
            raise FergiRewardError(f"the pipeline's VAE is a {kinds[0]}, which cannot be used: give {self.vae_class}")
        if found := self.unread_settings():
            raise FergiRewardError(f"the pipeline's {' and its '.join(found)}: such a pipeline cannot be trained")

    def unread_settings(self) -> list[str]:
        """Settings that the pipeline's parts have and that nothing here reads, such as `VAE has latents_mean`."""
        return [f"VAE has {name}" for name in ("latents_mean", "latents_std") if self.pipeline.vae.config.get(name)]

    def place(
        self, device: torch.device, dtype: torch.dtype, encoders: torch.device, network: torch.device | None = None
    ) -> None:
        """Move the pipeline, all of it in `dtype`, whatever its parts were loaded in; see `place_other_models`.

        With `network` the one that denoises goes there.
        """
        cast(self.network.to(network or device), dtype)
        self.place_other_models(device, dtype, encoders)

    def place_other_models(self, device: torch.device, dtype: torch.dtype, encoders: torch.device) -> None:
        """Move all but the network that denoises, in `dtype`, the text encoders to `encoders`.

        Kept in float32 where that is float16, in which they overflow: the VAE, see `upcasts_vae`, and the parts of a
        text encoder that `cast` leaves, T5's `wo`.
        """
        readers, vae = self.text_encoders, self.pipeline.vae
        vae_overflows = dtype == torch.float16 and self.upcasts_vae and vae.config.force_upcast
        for part in self.other_models:
            where = encoders if part in readers else device
            cast(part.to(where), torch.float32 if part is vae and vae_overflows else dtype)

    def checkpoint_gradients(self) -> None:
        """Keep little for the backward pass, of the network and of the VAE, and compute the rest again in it."""
        self.network.enable_gradient_checkpointing()
        self.pipeline.vae.enable_gradient_checkpointing()


def family_of(pipeline: Pipeline, resolution: int | None = None, max_sequence_length: int | None = None) -> Family:
    """The family of a pipeline, which it comes with.

    Args:
        pipeline: Pipeline of diffusers.
        resolution: Height and width in pixels of what is drawn; None for those that the network was made for.
        max_sequence_length: Tokens of a prompt that T5, or a language model, reads; None for the pipeline's own.

    Raises:
        FergiRewardError: There is none for its class, or it cannot draw at this resolution or read so many tokens.
    """
    names = FAMILIES.names()
    name = next((kind.__name__ for kind in type(pipeline).__mro__ if kind.__name__ in names), None)
    if name is None:
        raise FergiRewardError(
            f"cannot train a {type(pipeline).__name__}: families are {', '.join(names)}; one of your own is an entry "
            f"point of {FAMILIES.group}"
        )
    found = FAMILIES.get(name)
    with blaming(f"the family {name!r}", found.origin):
        family = found.target(pipeline)
    if not isinstance(family, Family):
        raise FergiRewardError(
            f"the family {name!r} ({found.origin}) gave a {type(family).__name__}, must give a {Family.__name__}"
        )
    if resolution is not None:
        _check_resolution(family, resolution)
        family.resolution = resolution
    if max_sequence_length is not None:
        _check_sequence_length(family, max_sequence_length)
        family.max_sequence_length = max_sequence_length
    return family


def _check_sequence_length(family: Family, tokens: int) -> None:
    kind, most = type(family.pipeline).__name__, family.longest_sequence
    if not most:
        raise FergiRewardError(
            f"max_sequence_length is {tokens}, but the length of a {kind}'s prompts cannot be chosen: leave it out"
        )
    if tokens > most:
        raise FergiRewardError(f"max_sequence_length is {tokens}, but a {kind} reads {most} tokens at most")


def _check_resolution(family: Family, resolution: int) -> None:
    """Refuse a resolution that the family's own pipeline would refuse, or round without a word."""
    multiple, most = family.resolution_multiple, family.largest_resolution
    kind = type(family.pipeline).__name__
    if resolution % multiple:
        near = max(multiple, round(resolution / multiple) * multiple)
        raise FergiRewardError(
            f"resolution is {resolution}, which a {kind} cannot draw: "
            f"it must be a multiple of {multiple}, such as {near}"
        )
    if most is not None and resolution > most:
        raise FergiRewardError(f"resolution is {resolution}, but this {kind} has places for {most} pixels at most")
