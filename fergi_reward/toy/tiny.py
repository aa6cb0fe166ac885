"""Tiny models of the real architectures with seeded random weights: for tests, and for trying the loops without a hub.

What they draw and score means nothing; every code path through them is the one that the real checkpoints take.
"""

import inspect
import string
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from diffusers.pipelines.flux.pipeline_flux import FluxPipeline
    from diffusers.pipelines.flux2.pipeline_flux2 import Flux2Pipeline
    from diffusers.pipelines.flux2.pipeline_flux2_klein import Flux2KleinPipeline
    from diffusers.pipelines.qwenimage.pipeline_qwenimage import QwenImagePipeline
    from diffusers.pipelines.sana.pipeline_sana import SanaPipeline
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
    from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import StableDiffusion3Pipeline
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
    from diffusers.pipelines.z_image.pipeline_z_image import ZImagePipeline
    from transformers import CLIPTextConfig, PreTrainedTokenizerFast, Qwen2Tokenizer, T5Tokenizer

    from fergi_reward.scorers.aesthetic import AestheticScorer
    from fergi_reward.scorers.base import TowerScorer
    from fergi_reward.scorers.clip import CLIPScorer
    from fergi_reward.scorers.hps import HPSv2Scorer
    from fergi_reward.scorers.hpsv3 import HPSv3Scorer
    from fergi_reward.scorers.image_reward import ImageRewardScorer
    from fergi_reward.scorers.pickscore import PickScorer

Made = TypeVar("Made")
Scorer = TypeVar("Scorer", bound="TowerScorer")
# The pipelines' names, for `--model`.
MODELS = (
    "tiny",
    "tiny_xl",
    "tiny_3",
    "tiny_flux",
    "tiny_flux2",
    "tiny_flux2_klein",
    "tiny_sana",
    "tiny_qwen_image",
    "tiny_z_image",
)
_TOWER: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
_VAE: dict[str, Any] = {
    "block_out_channels": (8, 8, 16, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "sample_size": 64,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}


# Heads of a transformer, and the scale of FLUX.1's latents.
_HEADS: dict[str, Any] = {"attention_head_dim": 16, "num_attention_heads": 2}
_SCALE: dict[str, Any] = {"shift_factor": 0.1159, "scaling_factor": 0.3611}


def pickscore(*, seed: int = 0) -> "PickScorer":
    """A PickScore for 32 x 32 inputs."""
    from transformers import CLIPConfig

    from fergi_reward.scorers.pickscore import PickScorer

    # As the published configuration says: transformers then takes the largest token for the end of the text.
    text = {**_TOWER, "hidden_act": "gelu", "eos_token_id": 2}
    vision = {**_TOWER, "hidden_act": "gelu", "image_size": 32, "patch_size": 8}
    with seeded(seed):
        return _frozen(PickScorer(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)))


def clip(*, seed: int = 0) -> "CLIPScorer":
    """A CLIP score for 32 x 32 inputs."""
    from transformers import CLIPConfig

    from fergi_reward.scorers.clip import CLIPScorer

    text, vision = {**_TOWER, "eos_token_id": 2}, {**_TOWER, "image_size": 32, "patch_size": 8}
    with seeded(seed):
        return _frozen(CLIPScorer(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)))


def aesthetic(*, seed: int = 0) -> "AestheticScorer":
    """An aesthetic predictor for 32 x 32 inputs."""
    from transformers import CLIPVisionConfig

    from fergi_reward.scorers.aesthetic import AestheticScorer

    with seeded(seed):
        return _frozen(AestheticScorer(CLIPVisionConfig(**_TOWER, image_size=32, patch_size=8, projection_dim=16)))


def hps(*, seed: int = 0) -> "HPSv2Scorer":
    """An HPS v2 for 32 x 32 inputs."""
    from open_clip.model import CLIP

    from fergi_reward.scorers.hps import HPSv2Scorer, scorer_key

    config: dict[str, Any] = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    }
    with seeded(seed):
        # Drawn as open_clip draws for its ordinary blocks: from those that the scorer runs in, scores are mostly noise.
        drawn = CLIP(**config).state_dict()
        scorer = _frozen(HPSv2Scorer(config))
    scorer.load_state_dict({key: value for name, value in drawn.items() if (key := scorer_key(name))})
    return scorer


def image_reward(*, seed: int = 0) -> "ImageRewardScorer":
    """An ImageReward for 32 x 32 inputs, whose tokens are single letters."""
    from fergi_reward.scorers.image_reward import ImageRewardScorer, TextSizes, VisionSizes, bert_tokenizer

    letters = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    tokenizer = bert_tokenizer(vocabulary)
    vision = VisionSizes(image_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2)
    text = TextSizes(len(tokenizer), 32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    with seeded(seed):
        return _frozen(ImageRewardScorer(vision, text, tokenizer))


def hpsv3(*, seed: int = 0) -> "HPSv3Scorer":
    """An HPSv3 whose tokens are bytes; pictures become about 256 tokens, as for the published one."""
    from transformers import Qwen2VLConfig

    from fergi_reward.scorers.hpsv3 import HPSv3Scorer

    tokenizer = qwen_vl_tokenizer()
    # The three axes of its places share the 8 numbers of a head in pairs.
    text = {**_language_model(len(tokenizer)), "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]}}
    text |= {"initializer_range": 0.3}  # from the usual 0.02 scores hardly depend on pictures
    vision = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2, "initializer_range": 0.3}
    with seeded(seed):
        return _frozen(HPSv3Scorer(Qwen2VLConfig(text_config=text, vision_config=vision), tokenizer))


def _frozen(scorer: Scorer) -> Scorer:
    """As `load_scorer` gives it."""
    return scorer.requires_grad_(False).eval()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from `seed` inside the block and leave the global generator as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def stable_diffusion(*, seed: int = 0) -> "StableDiffusionPipeline":
    """Stable Diffusion with a UNet of about a million parameters that draws 64 x 64 pixels.

    Its noise schedule is that of Stable Diffusion 1.5, its latents are 8 times smaller than its pictures, as there.
    """
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
    from transformers import CLIPTextModel

    from fergi_reward.scorers.clip_tokenizer import clip_tokenizer

    with seeded(seed):
        # A dictionary, since diffusers annotates the two that are None as if they could not be.
        components: dict[str, Any] = {
            "unet": _unet(),
            "vae": _vae(latent_channels=4),
            "text_encoder": CLIPTextModel(_text_config()),
            "tokenizer": clip_tokenizer(),
            "scheduler": _ddim(),
            "safety_checker": None,
            "feature_extractor": None,
        }
    return StableDiffusionPipeline(**components, requires_safety_checker=False)


def stable_diffusion_xl(*, seed: int = 0) -> "StableDiffusionXLPipeline":
    """Stable Diffusion XL that draws 64 x 64 pixels: two text encoders, and sizes among the inputs of its UNet."""
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    from fergi_reward.scorers.clip_tokenizer import clip_tokenizer

    with seeded(seed):
        unet = _unet(
            cross_attention_dim=64,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 32,
        )
        components: dict[str, Any] = {
            "unet": unet,
            "vae": _vae(latent_channels=4, scaling_factor=0.13025),
            "text_encoder": CLIPTextModel(_text_config()),
            "text_encoder_2": CLIPTextModelWithProjection(_text_config()),
            "tokenizer": clip_tokenizer(),
            "tokenizer_2": clip_tokenizer(),
            "scheduler": _ddim(),
        }
        return StableDiffusionXLPipeline(**components, add_watermarker=False)


def stable_diffusion_3(*, seed: int = 0) -> "StableDiffusion3Pipeline":
    """Stable Diffusion 3 that draws 64 x 64 pixels: flow matching, a transformer, and no T5, which is optional."""
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel
    from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import StableDiffusion3Pipeline
    from transformers import CLIPTextModelWithProjection

    from fergi_reward.scorers.clip_tokenizer import clip_tokenizer

    with seeded(seed):
        components: dict[str, Any] = {
            "transformer": SD3Transformer2DModel(
                sample_size=8,
                patch_size=2,
                num_layers=2,
                **_HEADS,
                joint_attention_dim=64,
                caption_projection_dim=32,
                pooled_projection_dim=64,
                pos_embed_max_size=16,
            ),
            "vae": _vae(latent_channels=16, shift_factor=0.0609, scaling_factor=1.5305),
            "text_encoder": CLIPTextModelWithProjection(_text_config()),
            "text_encoder_2": CLIPTextModelWithProjection(_text_config()),
            "text_encoder_3": None,
            "tokenizer": clip_tokenizer(),
            "tokenizer_2": clip_tokenizer(),
            "tokenizer_3": None,
            "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
        }
        return StableDiffusion3Pipeline(**components)


def flux(*, seed: int = 0, guidance_embeds: bool = True) -> "FluxPipeline":
    """FLUX.1 that draws 64 x 64 pixels, with a T5 whose tokens are single characters.

    Args:
        seed: Seed of the weights.
        guidance_embeds: Whether it is given the scale of the guidance, as the "dev" model is and "schnell" is not.
    """
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
    from diffusers.pipelines.flux.pipeline_flux import FluxPipeline
    from transformers import CLIPTextModel, T5Config, T5EncoderModel

    from fergi_reward.scorers.clip_tokenizer import clip_tokenizer

    tokenizer = t5_tokenizer()
    t5 = T5Config(vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, dropout_rate=0)
    with seeded(seed):
        components: dict[str, Any] = {
            "transformer": FluxTransformer2DModel(
                in_channels=16,
                num_layers=1,
                num_single_layers=2,
                **_HEADS,
                joint_attention_dim=32,
                pooled_projection_dim=32,
                guidance_embeds=guidance_embeds,
                axes_dims_rope=(4, 6, 6),
            ),
            "vae": _vae(latent_channels=4, **_SCALE),
            "text_encoder": CLIPTextModel(_text_config()),
            "text_encoder_2": T5EncoderModel(t5),
            "tokenizer": clip_tokenizer(),
            "tokenizer_2": tokenizer,
            "scheduler": FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=guidance_embeds, shift=3.0),
        }
        return _of_64_pixels(FluxPipeline(**components))


def flux2(*, seed: int = 0) -> "Flux2Pipeline":
    """FLUX.2 that draws 64 x 64 pixels, with a Mistral 3 whose tokens are single bytes."""
    from diffusers.pipelines.flux2.pipeline_flux2 import Flux2Pipeline

    from fergi_reward.toy import tiny_readers

    with seeded(seed):
        components: dict[str, Any] = {
            **_flux2_parts(guidance_embeds=True),
            "text_encoder": tiny_readers.mistral3(),
            "tokenizer": tiny_readers.mistral_processor(),
        }
        return _of_64_pixels(Flux2Pipeline(**components))


def flux2_klein(*, seed: int = 0, is_distilled: bool = False) -> "Flux2KleinPipeline":
    """FLUX.2 klein that draws 64 x 64 pixels, with a Qwen3 whose tokens are single bytes.

    Args:
        seed: Seed of the weights.
        is_distilled: Whether it has no classifier-free guidance, unlike the "base" models.
    """
    from diffusers.pipelines.flux2.pipeline_flux2_klein import Flux2KleinPipeline

    from fergi_reward.toy import tiny_readers

    with seeded(seed):
        parts = {**_flux2_parts(guidance_embeds=False), "text_encoder": tiny_readers.qwen3()}
        return _of_64_pixels(Flux2KleinPipeline(**parts, tokenizer=qwen_tokenizer(), is_distilled=is_distilled))


def _flux2_parts(*, guidance_embeds: bool) -> dict[str, Any]:
    import torch
    from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Flux2Transformer2DModel

    transformer = Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=2,
        **_HEADS,
        joint_attention_dim=3 * 16,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guidance_embeds,
    )
    vae: Any = AutoencoderKLFlux2(**_VAE, latent_channels=4)
    # A fresh batch norm changes nothing: a mistake with its statistics would not be seen.
    vae.bn.running_mean.copy_(torch.linspace(-1, 1, 16))
    vae.bn.running_var.copy_(torch.linspace(0.5, 2, 16))
    return {
        "transformer": transformer,
        "vae": vae.eval(),
        "scheduler": FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
    }


def sana(*, seed: int = 0) -> "SanaPipeline":
    """SANA that draws 64 x 64 pixels, with a Gemma 2 whose tokens are single bytes, and Euler's steps.

    Lines of its instruction are single tokens: their 1,376 bytes before each prompt would take longer than all else.
    """
    from diffusers import AutoencoderDC, FlowMatchEulerDiscreteScheduler, SanaTransformer2DModel
    from diffusers.pipelines.sana.pipeline_sana import SanaPipeline

    from fergi_reward.toy import tiny_readers

    instruction = inspect.signature(SanaPipeline.__call__).parameters["complex_human_instruction"].default
    blocks = ("ResBlock", "ResBlock", "EfficientViTBlock")
    with seeded(seed):
        transformer = SanaTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_layers=2,
            num_attention_heads=1,
            attention_head_dim=32,
            num_cross_attention_heads=4,
            cross_attention_head_dim=8,
            cross_attention_dim=32,
            caption_channels=16,
            sample_size=16,
        )
        vae = AutoencoderDC(
            latent_channels=4,
            attention_head_dim=16,
            encoder_block_types=blocks,
            decoder_block_types=blocks,
            encoder_block_out_channels=(8, 8, 16),
            decoder_block_out_channels=(8, 8, 16),
            encoder_layers_per_block=(1, 1, 1),
            decoder_layers_per_block=(1, 1, 1),
            encoder_qkv_multiscales=((), (), (5,)),
            decoder_qkv_multiscales=((), (), (5,)),
            downsample_block_type="Conv",
            upsample_block_type="interpolate",
            scaling_factor=0.41407,
        )
        components: dict[str, Any] = {
            "transformer": transformer,
            "vae": vae,
            "text_encoder": tiny_readers.gemma2(),
            "tokenizer": tiny_readers.gemma_tokenizer(instruction),
            "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
        }
        return SanaPipeline(**components)


def qwen_image(*, seed: int = 0) -> "QwenImagePipeline":
    """Qwen-Image that draws 64 x 64 pixels, with a Qwen2.5-VL whose tokens are bytes."""
    from diffusers import AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler, QwenImageTransformer2DModel
    from diffusers.pipelines.qwenimage.pipeline_qwenimage import QwenImagePipeline
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    tokenizer = qwen_tokenizer()
    # The three axes of its places share the 8 numbers of a head in pairs.
    text = {**_language_model(len(tokenizer)), "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]}}
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 32}
    with seeded(seed):
        components: dict[str, Any] = {
            "transformer": QwenImageTransformer2DModel(
                in_channels=16,
                out_channels=4,
                num_layers=2,
                **_HEADS,
                joint_attention_dim=32,
                axes_dims_rope=(4, 6, 6),
            ),
            "vae": AutoencoderKLQwenImage(
                base_dim=8,
                z_dim=4,
                dim_mult=[1, 1, 2, 2],
                num_res_blocks=1,
                latents_mean=[-0.8, 0.1, 0.4, -0.2],
                latents_std=[2.8, 1.5, 2.3, 1.1],
            ),
            "text_encoder": Qwen2_5_VLForConditionalGeneration(
                Qwen2_5_VLConfig(text_config=text, vision_config=vision)
            ),
            "tokenizer": tokenizer,
            "scheduler": FlowMatchEulerDiscreteScheduler(
                use_dynamic_shifting=True, max_image_seq_len=8192, max_shift=0.9, shift_terminal=0.02
            ),
        }
        return _of_64_pixels(QwenImagePipeline(**components))


def z_image(*, seed: int = 0) -> "ZImagePipeline":
    """Z-Image that draws 64 x 64 pixels, with a Qwen3 whose tokens are bytes."""
    from diffusers import FlowMatchEulerDiscreteScheduler, ZImageTransformer2DModel
    from diffusers.pipelines.z_image.pipeline_z_image import ZImagePipeline
    from transformers import Qwen3Config, Qwen3Model

    tokenizer = qwen_tokenizer()
    with seeded(seed):
        transformer = ZImageTransformer2DModel(
            in_channels=4,
            dim=32,
            n_layers=2,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=32,
            axes_dims=(4, 6, 6),
            axes_lens=(1024, 64, 64),
        )
        components: dict[str, Any] = {
            "transformer": transformer,
            "vae": _vae(latent_channels=4, **_SCALE),
            "text_encoder": Qwen3Model(Qwen3Config(**_language_model(len(tokenizer)), head_dim=8)),
            "tokenizer": tokenizer,
            "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
        }
        return ZImagePipeline(**components)


def qwen_tokenizer() -> "Qwen2Tokenizer":
    """A tokenizer of Qwen's kind whose tokens are single bytes, and that frames a prompt as a chat."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2Tokenizer

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {token: number for number, token in enumerate([*sorted(ByteLevel.alphabet()), *special])}
    template = "{% for message in messages %}<|im_start|>{{ message.role }} {{ message.content }}<|im_end|>{% endfor %}"
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=[], additional_special_tokens=special[1:])
    tokenizer.chat_template = template + "{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
    return tokenizer


def qwen_vl_tokenizer() -> "PreTrainedTokenizerFast":
    """A tokenizer of Qwen2-VL's kind whose tokens are single bytes."""
    from transformers import PreTrainedTokenizerFast

    tokens = qwen_tokenizer()
    tokens.add_tokens(["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"], special_tokens=True)
    return PreTrainedTokenizerFast(tokenizer_object=tokens.backend_tokenizer, pad_token="<|endoftext|>")


def t5_tokenizer() -> "T5Tokenizer":
    """A tokenizer of T5's kind whose tokens are single characters: it needs no download."""
    from transformers import T5Tokenizer

    characters = [(character, -3.0) for character in string.ascii_letters + string.digits + string.punctuation]
    return T5Tokenizer(vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -2.0), ("▁", -2.0), *characters])


def _of_64_pixels(pipeline: Made) -> Made:
    """The pipeline's own size is 128 latents, for 1,024 pixels, whatever its transformer is like."""
    vars(pipeline)["default_sample_size"] = 8
    return pipeline


def _language_model(vocabulary: int) -> dict[str, Any]:
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "max_position_embeddings": 1024,
    }
    # Qwen's tokens for the ends of a text are beyond so small a vocabulary.
    ends = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    return {**sizes, **ends, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": vocabulary}


def _unet(**options: Any) -> "UNet2DConditionModel":  # noqa: ANN401
    from diffusers import UNet2DConditionModel

    settings: dict[str, Any] = {
        "sample_size": 8,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "cross_attention_dim": 32,
        "attention_head_dim": 2,  # which is the number of heads: diffusers calls it so
        "norm_num_groups": 8,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    return UNet2DConditionModel(**{**settings, **options})


def _vae(**options: Any) -> "AutoencoderKL":  # noqa: ANN401
    from diffusers import AutoencoderKL

    return AutoencoderKL(**_VAE, **options)


def _text_config() -> "CLIPTextConfig":
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        hidden_size=32,
        intermediate_size=64,
        num_attention_heads=4,
        num_hidden_layers=3,
        projection_dim=32,
        vocab_size=49408,
        bos_token_id=49406,
        eos_token_id=49407,
    )


def _ddim() -> "DDIMScheduler":
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
