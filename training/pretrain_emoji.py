"""Make the embedded world's two models that draw, a StableDiffusionPipeline and a small Stable Diffusion 3.

npm pack emoji-datasource-google@16.0.0 && tar xzf emoji-datasource-google-16.0.0.tgz
OMP_NUM_THREADS=1 python training/pretrain_emoji.py diffusion --package package
OMP_NUM_THREADS=1 python training/pretrain_emoji.py flow

The second, of flow matching, takes the first one's objects, autoencoder and text encoder. Like models trained on the
web they have seen many poor pictures, and draw some: that is what fine-tuning can repair.
"""

import json
import math
import shlex
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from tqdm import tqdm

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files.atomic import atomic_path, write_json
from fergi_reward.toy.emoji.evaluation import evaluate_pipeline, write_scenes
from fergi_reward.toy.emoji.faults import with_faults
from fergi_reward.toy.emoji.pictures import HELD_OUT, OBJECT_SIDE, OBJECTS, SEEN, SIDE, compose_anywhere, draw_scenes
from fergi_reward.toy.emoji.vocabulary import MAX_TOKENS, emoji_tokenizer
from fergi_reward.toy.tiny import seeded

if TYPE_CHECKING:
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

    from fergi_reward.toy.emoji.flow_pipeline import EmojiFlowPipeline

# To type checkers diffusers' models have no attributes.
Model = Any
DATA = Path("fergi_reward/toy/emoji/data")
BATCH, VAE_BATCH = 64, 16
POOR, WEAKEST_FAULT = 0.75, 0.4  # share of pictures with a fault, and the least strength of one
COMMON_FAULTS = 4  # the first ones of FAULTS; nobody publishes garish pictures, but fine-tuning may come to draw them
NO_CAPTION = 0.1  # share of empty captions, for classifier-free guidance
VAE_LEARNING_RATE, LEARNING_RATE, FLOW_LEARNING_RATE = 3e-3, 2e-3, 1.5e-3
KL_WEIGHT = 1e-4
EMA_DECAY = 0.998
LATENT_CHANNELS, TEXT_WIDTH = 12, 128
POOL, TIMESTEPS = 16_384, 1000


@click.group()
def main() -> None:
    """Train a model that draws emoji, judge it and save it."""


@main.command()
@click.option("--package", type=click.Path(path_type=Path), required=True, help="The unpacked npm package.")
@click.option("--out", type=click.Path(path_type=Path), default=DATA / "pipeline", show_default=True)
@click.option("--vae-steps", type=click.IntRange(min=1), default=2200, show_default=True)
@click.option("--steps", type=click.IntRange(min=1), default=4000, show_default=True, help="Training steps.")
@click.option("--seed", type=int, default=0, show_default=True)
def diffusion(package: Path, out: Path, vae_steps: int, steps: int, seed: int) -> None:
    """Cut out the objects, train the autoencoder, then the diffusion model."""
    write_objects(package, DATA / "objects.png")
    draws = torch.Generator().manual_seed(seed)
    with seeded(seed):
        pipeline = build_pipeline()
        vae_error = train_vae(pipeline.vae, vae_steps, draws)
        standardize_latents(pipeline.vae, draws)
        modules = [pipeline.unet, pipeline.text_encoder]
        loss = train(modules, partial(diffusion_loss, pipeline, draws), LEARNING_RATE, steps)
    pipeline.to(torch.float16).save_pretrained(out)
    write_figures(pipeline.to(torch.float32), out, seed, {"vae_error": vae_error, "loss": loss})


@main.command()
@click.option("--out", type=click.Path(path_type=Path), default=DATA / "flow_pipeline", show_default=True)
@click.option("--steps", type=click.IntRange(min=1), default=3500, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def flow(out: Path, steps: int, seed: int) -> None:
    """Train a transformer by flow matching."""
    draws = torch.Generator().manual_seed(seed)
    with seeded(seed):
        pipeline = build_flow_pipeline()
        loss = train([pipeline.transformer], flow_losses(pipeline, draws), FLOW_LEARNING_RATE, steps)
    pipeline.transformer.to(torch.float16).save_pretrained(out)
    pipeline.transformer.to(torch.float32)
    write_figures(pipeline, out, seed, {"loss": loss})


def write_figures(pipeline: Model, out: Path, seed: int, figures: dict[str, float]) -> None:
    """Judge the pipeline and write next to it what the judge says, how it was made and what it draws."""
    for name, scenes in (("seen", SEEN), ("held_out", HELD_OUT)):
        figures |= {f"{name}/{key}": value for key, value in evaluate_pipeline(pipeline, scenes, seed).items()}
    rounded = {name: round(value, 4) for name, value in figures.items()}
    write_json(out / "made_by.json", {"command": shlex.join(["python", *sys.argv]), "seed": seed} | rounded)
    write_scenes(out / "samples.png", pipeline, HELD_OUT, seed)
    click.echo(f"a toy, {out}: {json.dumps(rounded)}; look at {out / 'samples.png'}")


def write_objects(package: Path, path: Path) -> None:
    """All objects next to each other in one RGBA picture, at the size that scenes have them."""
    try:
        listed = json.loads((package / "emoji.json").read_text(encoding="utf-8"))
        files = {entry["short_name"]: package / "img" / "google" / "64" / entry["image"] for entry in listed}
        sheet = Image.new("RGBA", (len(OBJECTS) * OBJECT_SIDE, OBJECT_SIDE))
        for number, short_name in enumerate(OBJECTS.values()):
            with Image.open(files[short_name]) as picture:
                small = picture.convert("RGBA").resize((OBJECT_SIDE, OBJECT_SIDE), Image.Resampling.LANCZOS)
            sheet.paste(small, (number * OBJECT_SIDE, 0))
    except OSError as error:
        raise FergiRewardError(f"{package} is not the unpacked emoji-datasource-google 16.0.0 ({error})") from error
    with atomic_path(path) as temporary:
        sheet.save(temporary)


def build_pipeline() -> "StableDiffusionPipeline":
    """The untrained pipeline: 12 x 8 x 8 latents, a UNet of 2.5 million parameters."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
    from transformers import CLIPTextConfig, CLIPTextModel

    tokenizer = emoji_tokenizer()
    text_config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    components: dict[str, Any] = {
        "vae": AutoencoderKL(
            block_out_channels=(16, 32, 48),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            latent_channels=LATENT_CHANNELS,
            norm_num_groups=8,
            sample_size=SIDE,
            scaling_factor=1.0,
        ),
        "unet": UNet2DConditionModel(
            sample_size=SIDE // 4,
            in_channels=LATENT_CHANNELS,
            out_channels=LATENT_CHANNELS,
            block_out_channels=(64, 96),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            cross_attention_dim=TEXT_WIDTH,
            attention_head_dim=4,
            norm_num_groups=8,
        ),
        "text_encoder": CLIPTextModel(text_config),
        "tokenizer": tokenizer,
        "scheduler": DDIMScheduler(
            beta_schedule="squaredcos_cap_v2",
            prediction_type="v_prediction",
            timestep_spacing="trailing",
            clip_sample=False,
        ),
        "safety_checker": None,
        "feature_extractor": None,
    }
    return StableDiffusionPipeline(**components, requires_safety_checker=False)


def build_flow_pipeline() -> "EmojiFlowPipeline":
    """The untrained pipeline: a transformer of 3 million parameters that reads the latents in patches of 2 x 2."""
    from diffusers import SD3Transformer2DModel

    from fergi_reward.toy.emoji.flow_pipeline import assemble

    transformer = SD3Transformer2DModel(
        sample_size=SIDE // 4,
        patch_size=2,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_layers=5,
        attention_head_dim=16,
        num_attention_heads=8,
        caption_projection_dim=128,
        # Two text encoders next to each other.
        joint_attention_dim=2 * TEXT_WIDTH,
        pooled_projection_dim=2 * TEXT_WIDTH,
        pos_embed_max_size=SIDE // 8,
        qk_norm="rms_norm",
    )
    return assemble(transformer)


def draw_batch(count: int, draws: torch.Generator) -> tuple[Tensor, list[str]]:
    """Pictures (B, 3, 32, 32) in [-1, 1], some with a fault, and their captions, which say nothing of it."""
    scenes = draw_scenes(SEEN, count, draws)
    strength = WEAKEST_FAULT + (1 - WEAKEST_FAULT) * torch.rand(count, generator=draws)
    strength *= torch.rand(count, generator=draws) < POOR
    kinds = torch.randint(COMMON_FAULTS, (count,), generator=draws)
    pixels = with_faults(compose_anywhere(scenes, draws), strength, kinds, draws)
    return pixels * 2 - 1, [scene.caption for scene in scenes]


def train_vae(vae: Model, steps: int, draws: torch.Generator) -> float:
    """Train the autoencoder on the evidence lower bound; returns the last mean squared error, pixels in [-1, 1]."""
    optimizer = torch.optim.AdamW(vae.parameters(), lr=VAE_LEARNING_RATE, betas=(0.9, 0.95))
    schedule = warm_then_cosine(optimizer, steps)
    for _ in (bar := tqdm(range(steps), desc="autoencoder", unit="step")):
        pixels, _ = draw_batch(VAE_BATCH, draws)
        posterior = vae.encode(pixels).latent_dist
        error = mse_loss(vae.decode(posterior.sample(generator=draws)).sample, pixels)
        latents = posterior.mean.numel()
        descend(error + KL_WEIGHT * posterior.kl().sum() / latents, optimizer, vae)
        schedule.step()
        bar.set_postfix(error=f"{error.item():.4f}")
    return error.item()


@torch.no_grad()
def standardize_latents(vae: Model, draws: torch.Generator) -> None:
    """Give each latent channel mean 0 and variance 1 by the convolutions at both ends of the latent space."""
    latents = torch.cat([vae.encode(draw_batch(BATCH, draws)[0]).latent_dist.mean for _ in range(16)])
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    encoder, decoder = vae.quant_conv, vae.post_quant_conv
    # The decoder's first convolution undoes it; the encoder's last gives means and logarithms of variances.
    decoder.bias += decoder.weight[:, :, 0, 0] @ mean
    decoder.weight *= std[None, :, None, None]
    encoder.weight[:LATENT_CHANNELS] /= std[:, None, None, None]
    encoder.bias[:LATENT_CHANNELS] = (encoder.bias[:LATENT_CHANNELS] - mean) / std
    encoder.bias[LATENT_CHANNELS:] -= 2 * std.log()


def train(models: list[Model], loss_of_batch: Callable[[], Tensor], rate: float, steps: int) -> float:
    """Train the models, and leave the moving averages of their weights in them.

    Returns:
        The mean loss over the last hundred steps.
    """
    modules = nn.ModuleList(models)
    optimizer = torch.optim.AdamW(modules.parameters(), lr=rate, betas=(0.9, 0.99))
    schedule = warm_then_cosine(optimizer, steps)
    averages = [parameter.detach().clone() for parameter in modules.parameters()]
    losses = []
    for step in (bar := tqdm(range(steps), desc="training", unit="step")):
        loss = loss_of_batch()
        descend(loss, optimizer, modules)
        schedule.step()
        decay = min(EMA_DECAY, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(averages, list(modules.parameters()), 1 - decay)
        losses.append(loss.item())
        bar.set_postfix(loss=f"{sum(losses[-100:]) / len(losses[-100:]):.4f}")
    with torch.no_grad():
        torch._foreach_copy_(list(modules.parameters()), averages)
    return sum(losses[-100:]) / len(losses[-100:])


def diffusion_loss(pipeline: Model, draws: torch.Generator) -> Tensor:
    """The mean squared error of the predicted velocity (Salimans & Ho, arXiv 2202.00512) of a fresh batch."""
    scheduler = pipeline.scheduler
    latents, captions = draw_latents(pipeline.vae, draws)
    noise = torch.randn(latents.shape, generator=draws)
    timesteps = torch.randint(scheduler.config.num_train_timesteps, (BATCH,), generator=draws)
    tokens = pipeline.tokenizer(captions, padding="max_length", return_tensors="pt").input_ids
    embeds = pipeline.text_encoder(tokens).last_hidden_state
    predicted = pipeline.unet(scheduler.add_noise(latents, noise, timesteps), timesteps, embeds).sample
    return mse_loss(predicted, scheduler.get_velocity(latents, noise, timesteps))


def flow_losses(pipeline: Model, draws: torch.Generator) -> Callable[[], Tensor]:
    """A function that gives the loss of a batch: of the velocity, at times whose logits are Gaussian.

    Esser et al., arXiv 2403.03206, section 3.1. Pictures and captions, of which nothing is trained, are encoded once.
    """
    batches = [draw_latents(pipeline.vae, draws) for _ in tqdm(range(POOL // BATCH), desc="pictures", unit="batch")]
    pool, captions = torch.cat([latents for latents, _ in batches]), [text for _, texts in batches for text in texts]
    known = sorted(set(captions))
    rows = torch.tensor([known.index(caption) for caption in captions])
    with torch.no_grad():
        embeds, _, pooled, _ = pipeline.encode_prompt(known, None, None, do_classifier_free_guidance=False)

    def loss() -> Tensor:
        chosen = torch.randint(len(pool), (BATCH,), generator=draws)
        latents, row = pool[chosen], rows[chosen]
        noise = torch.randn(latents.shape, generator=draws)
        times = torch.randn(BATCH, generator=draws).sigmoid()
        noised = torch.lerp(latents, noise, times[:, None, None, None])
        velocity = pipeline.transformer(noised, embeds[row], pooled[row], times * TIMESTEPS).sample
        return mse_loss(velocity, noise - latents)

    return loss


@torch.no_grad()
def draw_latents(vae: Model, draws: torch.Generator) -> tuple[Tensor, list[str]]:
    """A fresh batch as latents (B, C, 8, 8), and its captions, some of them empty."""
    pixels, captions = draw_batch(BATCH, draws)
    empty = torch.rand(BATCH, generator=draws) < NO_CAPTION
    captions = ["" if without else caption for caption, without in zip(captions, empty.tolist(), strict=True)]
    return vae.encode(pixels).latent_dist.mean, captions


def warm_then_cosine(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Fifty steps up, then down a cosine to a twentieth."""
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / 50) * (0.525 + 0.475 * math.cos(math.pi * step / steps))
    )


def descend(loss: Tensor, optimizer: torch.optim.Optimizer, module: nn.Module) -> None:
    """One step of the optimiser, gradients shortened to 1."""
    loss.backward()
    nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


if __name__ == "__main__":
    main()
