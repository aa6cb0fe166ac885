"""The toy's second model that draws, of flow matching: a small Stable Diffusion 3 with the first model's other parts.

Imports diffusers and transformers: `fergi_reward.toy.emoji.load_flow_pipeline` loads it.
"""

from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel
from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import StableDiffusion3Pipeline
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from fergi_reward.diffusion.registry import call
from fergi_reward.toy.emoji import DATA
from fergi_reward.toy.emoji.unknown_words import warn_of_unknown_words

FOLDER = DATA / "flow_pipeline"
FIRST = DATA / "pipeline"
CAPTION_TOKENS = 8  # all captions have as many


class EmojiFlowPipeline(StableDiffusion3Pipeline):
    """A pipeline of Stable Diffusion 3 that leaves out T5 altogether.

    Diffusers puts 256 zeros in the place of a T5 that is not there: of this toy's tokens they would be nine tenths.
    """

    def encode_prompt(self, *arguments: Any, **keywords: Any) -> Any:  # noqa: ANN401  # those of the base class
        """As the base class does, without tokens of T5."""
        return super().encode_prompt(*arguments, **(keywords | {"max_sequence_length": 0}))


def assemble(transformer: SD3Transformer2DModel) -> EmojiFlowPipeline:
    """The pipeline around a transformer; its one text encoder stands in both places that the architecture has."""
    tokenizer = CLIPTokenizer.from_pretrained(FIRST / "tokenizer", model_max_length=CAPTION_TOKENS)
    text_encoder = _text_encoder()
    components: dict[str, Any] = {
        "transformer": transformer,
        # The first model's latents are standardised already; this kind of pipeline wants to hear it.
        "vae": AutoencoderKL.from_pretrained(FIRST / "vae", shift_factor=0.0),
        "text_encoder": text_encoder,
        "text_encoder_2": text_encoder,
        "text_encoder_3": None,
        "tokenizer": tokenizer,
        "tokenizer_2": tokenizer,
        "tokenizer_3": None,
        "scheduler": FlowMatchEulerDiscreteScheduler(),
    }
    return EmojiFlowPipeline(**components)


def load() -> EmojiFlowPipeline:
    """The pretrained pipeline, in float32, as diffusers loads what is stored in float16."""
    pipeline = assemble(SD3Transformer2DModel.from_pretrained(FOLDER))
    warn_of_unknown_words(pipeline.text_encoder, pipeline.tokenizer)
    call(pipeline, "emoji_flow")
    return pipeline


def _text_encoder() -> CLIPTextModelWithProjection:
    """The first model's, with a projection that leaves the text's vector as it is."""
    first = CLIPTextModel.from_pretrained(FIRST / "text_encoder")
    first.config.projection_dim = first.config.hidden_size
    encoder = CLIPTextModelWithProjection(first.config)
    encoder.text_model.load_state_dict(first.state_dict())
    torch.nn.init.eye_(encoder.text_projection.weight)
    return encoder.float()
