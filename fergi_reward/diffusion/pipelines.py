"""What the kinds of diffusers pipelines differ in, in one place: Stable Diffusion 1.5 and 2, XL, 3 and 3.5, and FLUX.1.

Everything above this file sees a network that maps latents, timesteps and a `Conditioning` to a prediction.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.precision import cast
from fergi_reward.core.transfers import sent
from fergi_reward.diffusion.ddim import DDIMSchedule, Schedule
from fergi_reward.diffusion.flow import FlowSchedule

# The pipelines of diffusers have no useful common type: their classes are told apart by `network_name`.
Pipeline = Any
# Called as the UNet or transformer itself is.
Network = Callable[..., Any]


@dataclass(frozen=True)
class Conditioning:
    """What tells a network what to draw, for B images.

    Attributes:
        prompt_embeds: (B, L, D) the encoded prompts, token by token.
        pooled_embeds: (B, P) the prompts as one vector each; None for Stable Diffusion 1.5 and 2.
        time_ids: (B, 6) height, width, top, left, height, width in pixels, for Stable Diffusion XL (Podell et al.,
            arXiv 2307.01952, section 2.2): the picture is asked for as one that was neither small nor cropped.
    """

    prompt_embeds: Tensor
    pooled_embeds: Tensor | None = None
    time_ids: Tensor | None = None

    def arguments(self) -> dict[str, Any]:
        """What the network's forward calls it."""
        arguments: dict[str, Any] = {"encoder_hidden_states": self.prompt_embeds}
        if self.time_ids is not None:
            arguments["added_cond_kwargs"] = {"text_embeds": self.pooled_embeds, "time_ids": self.time_ids}
        elif self.pooled_embeds is not None:
            arguments["pooled_projections"] = self.pooled_embeds
        return arguments

    def cut_from(self, sizes: Sequence[tuple[int, int]], corners: Sequence[tuple[int, int]]) -> Self:
        """The conditioning of pictures that had these sizes and lost these rows and columns, where the network asks."""
        if self.time_ids is None:
            return self
        rows = [[*size, *corner] for size, corner in zip(sizes, corners, strict=True)]
        cut = sent(torch.tensor(rows, dtype=self.time_ids.dtype), self.time_ids.device)
        return replace(self, time_ids=torch.cat([cut, self.time_ids[:, 4:]], dim=1))

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The same function of every tensor that there is."""
        tensors = (self.prompt_embeds, self.pooled_embeds, self.time_ids)
        return type(self)(*(None if tensor is None else function(tensor) for tensor in tensors))  # type: ignore[arg-type]

    def __getitem__(self, rows: Tensor) -> Self:
        """The conditioning of the images at `rows`."""
        return self.map(lambda tensor: tensor[rows])

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """Several batches as one."""

        def joined(name: str) -> Tensor | None:
            tensors = [getattr(part, name) for part in parts]
            return None if tensors[0] is None else torch.cat(tensors)

        return cls(*(joined(name) for name in ("prompt_embeds", "pooled_embeds", "time_ids")))  # type: ignore[arg-type]


def network_name(pipeline: Pipeline) -> str:
    """Which component denoises: `unet` or `transformer`.

    Raises:
        FergiRewardError: The pipeline is of a kind that cannot be trained here.
    """
    known = {
        "StableDiffusionPipeline": "unet",
        "StableDiffusionXLPipeline": "unet",
        "StableDiffusion3Pipeline": "transformer",
        "FluxPipeline": "transformer",
    }
    for kind in type(pipeline).__mro__:
        if kind.__name__ in known:
            return known[kind.__name__]
    raise FergiRewardError(f"a {type(pipeline).__name__} cannot be trained: give a {', '.join(known)}")


def is_flux(pipeline: Pipeline) -> bool:
    """Whether it is FLUX, which reads pictures as rows of patches, and guidance as a number."""
    return any(kind.__name__ == "FluxPipeline" for kind in type(pipeline).__mro__)


def network_of(pipeline: Pipeline) -> Any:  # noqa: ANN401  # a UNet or a transformer of diffusers
    """The component that denoises."""
    return getattr(pipeline, network_name(pipeline))


def denoiser(pipeline: Pipeline, guidance_scale: float) -> Network:
    """What denoises as one calls it: latents (B, C, H, W) first, then `timestep` and the arguments of a conditioning.

    Args:
        pipeline: Of any kind.
        guidance_scale: What FLUX.1-dev is told; the others know of guidance only by being called twice.
    """
    network = network_of(pipeline)
    if not is_flux(pipeline):
        return network

    def flux(latents: Tensor, *, timestep: Tensor, **arguments: Any) -> tuple[Tensor]:  # noqa: ANN401
        guidance = latents.new_full((len(latents),), guidance_scale) if network.config.guidance_embeds else None
        text_places = latents.new_zeros(arguments["encoder_hidden_states"].shape[1], 3)
        places = {"img_ids": _patch_places(latents), "txt_ids": text_places}
        patches = network(_packed(latents), timestep=timestep / 1000, guidance=guidance, **places, **arguments)[0]
        return (_unpacked(patches, *latents.shape[2:]),)

    return flux


def has_classifier_free_guidance(pipeline: Pipeline) -> bool:
    """Whether guidance takes a second prediction, without a prompt: not of FLUX, which has learned to do it in one."""
    return not is_flux(pipeline)


def networks_beside(pipeline: Pipeline) -> list[nn.Module]:
    """All models of the pipeline but the one that denoises."""
    denoiser = network_of(pipeline)
    return [part for part in pipeline.components.values() if isinstance(part, nn.Module) and part is not denoiser]


def text_encoders(pipeline: Pipeline) -> list[nn.Module]:
    """The models of the pipeline that read prompts."""
    parts = pipeline.components.items()
    return [part for name, part in parts if name.startswith("text_encoder") and isinstance(part, nn.Module)]


def place(pipeline: Pipeline, device: torch.device, dtype: torch.dtype, encoders: torch.device) -> None:
    """Move the pipeline, all of it in `dtype`, whatever its parts were loaded in; see `place_beside` for exceptions."""
    cast(network_of(pipeline).to(device), dtype)
    place_beside(pipeline, device, dtype, encoders)


def place_beside(pipeline: Pipeline, device: torch.device, dtype: torch.dtype, encoders: torch.device) -> None:
    """Move all but the network that denoises, in `dtype`, the text encoders to `encoders`.

    Kept in float32 where that is float16, in which they overflow: the VAE of a pipeline with two text encoders whose
    config says `force_upcast`, as that of XL does, and the parts of a text encoder that `cast` leaves, T5's `wo`.
    """
    readers = text_encoders(pipeline)
    for part in networks_beside(pipeline):
        overflows = part is pipeline.vae and hasattr(pipeline, "text_encoder_2") and part.config.force_upcast
        where = encoders if part in readers else device
        cast(part.to(where), torch.float32 if overflows and dtype == torch.float16 else dtype)


def check_supported(pipeline: Pipeline) -> None:
    """Refuse a pipeline with settings that change its pictures, and that sampling here does not follow.

    Raises:
        FergiRewardError: It has a VAE whose latents are scaled otherwise, or a UNet that is told its guidance.
    """
    vae, network = pipeline.vae, network_of(pipeline)
    if not any(kind.__name__ == "AutoencoderKL" for kind in type(vae).__mro__):
        raise FergiRewardError(
            f"the pipeline's VAE is a {type(vae).__name__}, which cannot be used: give AutoencoderKL"
        )
    unread = ["latents_mean", "latents_std", *(["shift_factor"] if network_name(pipeline) == "unet" else [])]
    found = [f"VAE has {name}" for name in unread if vae.config.get(name)]
    # Distilled as latent consistency models are: diffusers tells such a UNet the scale of the guidance.
    found += ["UNet has time_cond_proj_dim"] if network.config.get("time_cond_proj_dim") else []
    if found:
        raise FergiRewardError(f"the pipeline's {' and its '.join(found)}: such a pipeline cannot be trained")


def checkpoint_gradients(pipeline: Pipeline) -> None:
    """Keep little for the backward pass, of the network and of the VAE, and compute the rest again in it."""
    network_of(pipeline).enable_gradient_checkpointing()
    pipeline.vae.enable_gradient_checkpointing()


def schedule_of(pipeline: Pipeline, num_steps: int, device: torch.device) -> Schedule:
    """The steps from noise to image that the pipeline's own noise schedule leaves to take."""
    if network_name(pipeline) == "unet":
        return DDIMSchedule.from_scheduler(pipeline.scheduler, num_steps, device)
    _, height, width = latent_shape(pipeline)
    patch = 2 if is_flux(pipeline) else pipeline.transformer.config.patch_size
    even = [1 - step / num_steps for step in range(num_steps)] if is_flux(pipeline) else None
    tokens = (height // patch) * (width // patch)
    return FlowSchedule.from_scheduler(pipeline.scheduler, num_steps, device, tokens=tokens, sigmas=even)


def training_schedule_of(pipeline: Pipeline, device: torch.device) -> Schedule:
    """All the noise levels that the pipeline's network was trained at."""
    kind = FlowSchedule if network_name(pipeline) == "transformer" else DDIMSchedule
    return kind.of_training(pipeline.scheduler, device)


def latent_shape(pipeline: Pipeline) -> tuple[int, int, int]:
    """(C, H, W) of the latents at the resolution that the network was made for."""
    config = network_of(pipeline).config
    if is_flux(pipeline):
        return config.in_channels // 4, pipeline.default_sample_size, pipeline.default_sample_size
    size = config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    return config.in_channels, height, width


def encode_prompts(pipeline: Pipeline, prompts: Sequence[str]) -> Conditioning:
    """Prompts as the network reads them, by the pipeline's own text encoders, where these are."""
    return _encode(pipeline, list(prompts), negative=False)


def encode_absence(pipeline: Pipeline) -> Conditioning:
    """What stands for no prompt in classifier-free guidance, B = 1: the empty prompt, or for XL zeros."""
    return _encode(pipeline, [""], negative=True)


@torch.no_grad()
def _encode(pipeline: Pipeline, prompts: list[str], negative: bool) -> Conditioning:
    device = next(text_encoders(pipeline)[0].parameters()).device
    if is_flux(pipeline):
        embeds, pooled, _ = pipeline.encode_prompt(prompt=prompts, device=device)
        return Conditioning(embeds, pooled)
    more = {"prompt_2": None, "prompt_3": None} if network_name(pipeline) == "transformer" else {}
    encoded = pipeline.encode_prompt(
        prompt=prompts, device=device, num_images_per_prompt=1, do_classifier_free_guidance=negative, **more
    )
    # Embeddings, the negative ones, pooled, the negative ones; Stable Diffusion 1.5 has only the first two.
    embeds, *pooled = encoded[1::2] if negative else encoded[0::2]
    if not pooled or more:
        return Conditioning(embeds, *pooled)
    size = picture_size(pipeline)
    time_ids = torch.tensor([[*size, 0, 0, *size]], dtype=embeds.dtype, device=device)
    return Conditioning(embeds, pooled[0], time_ids.expand(len(embeds), -1))


def decode(pipeline: Pipeline, latents: Tensor) -> Tensor:
    """Latents (B, C, H, W) as pixels (B, 3, 8 H, 8 W) in [0, 1], float32 at least, by the pipeline's own VAE.

    Where gradients are on, picture by picture and with nothing kept in between: the backward pass decodes each one
    again. The VAE's activations for a batch are otherwise the largest thing in memory.
    """
    vae = pipeline.vae
    scaled = latents / vae.config.scaling_factor + (getattr(vae.config, "shift_factor", None) or 0.0)
    scaled = scaled.to(vae.dtype)
    if torch.is_grad_enabled():
        pictures = [checkpoint(_decode, vae, picture, use_reentrant=False) for picture in scaled.split(1)]
        pixels = torch.cat(pictures)
    else:
        pixels = _decode(vae, scaled)
    return (pixels.to(torch.promote_types(pixels.dtype, torch.float32)) / 2 + 0.5).clamp(0, 1)


@torch.no_grad()
def encode_pictures(pipeline: Pipeline, pixels: Tensor) -> Tensor:
    """Pixels (B, 3, 8 H, 8 W) in [0, 1] as latents (B, C, H, W), float32 at least.

    The mean of what the VAE says, not a draw from it: its standard deviation is next to nothing.
    """
    vae = pipeline.vae
    latents = vae.encode(sent(pixels * 2 - 1, vae.device).to(vae.dtype)).latent_dist.mode()
    latents = latents.to(torch.promote_types(latents.dtype, torch.float32))
    return (latents - (getattr(vae.config, "shift_factor", None) or 0.0)) * vae.config.scaling_factor


def picture_size(pipeline: Pipeline) -> tuple[int, int]:
    """Height and width in pixels at the resolution that the network was made for."""
    _, height, width = latent_shape(pipeline)
    return height * pipeline.vae_scale_factor, width * pipeline.vae_scale_factor


def _packed(latents: Tensor) -> Tensor:
    """(B, C, H, W) as rows of patches of 2 x 2, (B, H W / 4, 4 C)."""
    patches = latents.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))
    return patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def _unpacked(patches: Tensor, height: int, width: int) -> Tensor:
    """The opposite of `_packed`."""
    parts = patches.unflatten(2, (-1, 2, 2)).unflatten(1, (height // 2, width // 2))
    return parts.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def _patch_places(latents: Tensor) -> Tensor:
    """Row and column of each patch, after a zero, (H W / 4, 3): from them FLUX has its rotary embedding."""
    _, _, height, width = latents.shape
    rows, columns = (torch.arange(size // 2, device=latents.device) for size in (height, width))
    return torch.cartesian_prod(torch.zeros_like(rows[:1]), rows, columns).to(latents.dtype)


def _decode(vae: Any, latents: Tensor) -> Tensor:  # noqa: ANN401
    return vae.decode(latents, return_dict=False)[0]
