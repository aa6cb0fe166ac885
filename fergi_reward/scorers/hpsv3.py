"""HPSv3 (Ma et al., arXiv 2508.03789): Qwen2-VL-7B reads picture and prompt, and a head gives a mean and a sigma.

This is what its package, hpsv3 1.0.0, computes with transformers 4.45.2. Newer versions of Qwen2-VL differ in two
points: here tokens of the picture have places one after the other, as those of the text (no row and column), and the
frequencies of places are rounded to bfloat16, as they are where the package casts the model.

Pictures of different forms have different numbers of tokens. So model inputs and features have equal numbers of rows,
the first of which says how many rows and columns of tokens there are: `_framed`. Images meet the model one by one,
about 900 tokens each: nothing is padded there, and no score depends on the rest of the batch.
"""

import math
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import torch
from PIL import Image
from torch import Tensor, nn

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.core.transfers import sent
from fergi_reward.hub.published import HPS_V3, QWEN2_VL
from fergi_reward.images import Picture, normalize, picture_list, resize_in_steps, to_pixels
from fergi_reward.scorers.base import Option, TowerScorer, at_least_float32, in_order
from fergi_reward.scorers.checkpoints import Checkpoint, load_weights, read_json
from fergi_reward.scorers.clip import config_record

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen2VLConfig

_REWARD = "<|Reward|>"
_BEFORE_PICTURE = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
_AFTER_PICTURE = "<|vision_end|>"
# Tokens that stand for a picture or for the score, of which the original allows one each.
_RESERVED = (_REWARD, "<|image_pad|>", "<|video_pad|>")
_NEEDED = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
# A token shows 28 x 28 pixels, as 2 x 2 patches; a picture has 256 tokens, or as close to that as its form allows.
_TOKEN, _TOKENS, _PATCHES = 28, 256, 4
_SIDES_AT_MOST = 200
# A picture of 1 x 200 has the most, 454.
_MOST_TOKENS = 480
# The question has 600 or so.
MAX_TOKENS = 4096
_FILES = f"{HPS_V3}, and {QWEN2_VL}"
_QWEN = Checkpoint(QWEN2_VL.name, QWEN2_VL.revision, scorer="hpsv3", files=_FILES)


class HPSv3Scorer(TowerScorer):
    """The score is the mean of a normal distribution, whose standard deviation `judge` gives, too.

    The checkpoint is `HPSv3.safetensors`. A local folder may bring Qwen2-VL's `config.json` and `tokenizer.json`;
    without them, those of Qwen2-VL-7B-Instruct come from the hub.

    Args:
        config: Sizes of Qwen2-VL; the weights are random until some are loaded.
        tokenizer: Qwen2-VL's, to which <|Reward|> is added.
    """

    name = "hpsv3"
    license = f"{HPS_V3.license}; {QWEN2_VL.license}"
    files = _FILES
    default_checkpoint = HPS_V3.name
    revision = HPS_V3.revision
    parameter_count = 7_750_000_000

    def __init__(self, config: "Qwen2VLConfig", tokenizer: "PreTrainedTokenizerFast") -> None:
        from transformers.models.qwen2_vl.modeling_qwen2_vl import (
            Qwen2VisionTransformerPretrainedModel,
            Qwen2VLTextModel,
        )

        super().__init__()
        if lacking := [token for token in _NEEDED if token not in tokenizer.get_vocab()]:
            raise FergiRewardError(f"the tokenizer has no {', '.join(lacking)}: hpsv3 needs Qwen2-VL's")
        tokenizer.add_tokens([_REWARD], special_tokens=True)
        text: Any = config.text_config
        text.vocab_size = len(tokenizer)  # the original cuts the table of tokens to this length
        self.tokenizer, self.sizes = tokenizer, config_record(config)
        self.visual: Any = Qwen2VisionTransformerPretrainedModel(cast(Any, config.vision_config))
        self.model: Any = Qwen2VLTextModel(text)
        # The original drops out after the first ReLU, while training.
        self.rm_head = nn.Sequential(
            nn.Linear(text.hidden_size, 1024),
            nn.ReLU(),
            nn.Identity(),
            nn.Linear(1024, 16),
            nn.ReLU(),
            nn.Linear(16, 2),
        )
        self._number_places()

    @classmethod
    def _sized(cls, checkpoint: Checkpoint, **options: Option) -> Self:
        from transformers import Qwen2VLConfig

        config, tokens = (checkpoint.extra(name) or _QWEN.file(name) for name in ("config.json", "tokenizer.json"))
        return cls(Qwen2VLConfig.from_dict(read_json(config)), _tokenizer(tokens), **options)

    def _fill(self, checkpoint: Checkpoint) -> None:
        load_weights(self, checkpoint.file("HPSv3.safetensors"), _renamed)
        self._number_places()

    def _number_places(self) -> None:
        """Make the frequencies of places, which no checkpoint holds; rounded as in the original."""
        for tower, rotary in ((self.visual, "rotary_pos_emb"), (self.model, "rotary_emb")):
            made = type(getattr(tower, rotary))(tower.config)
            made.inv_freq = made.inv_freq.bfloat16().float()
            setattr(tower, rotary, made)

    def preprocess(self, picture: Image.Image) -> Tensor:
        """To RGB (alpha dropped), by Pillow to about 256 tokens, normalise; then patches, framed."""
        rgb = picture.convert("RGB")
        rows, columns = token_grid(rgb.height, rgb.width)
        resized = rgb.resize((columns * _TOKEN, rows * _TOKEN), Image.Resampling.BICUBIC)
        return patches(normalize(to_pixels(resized))[None])[0]

    def transform(self, pixels: Tensor) -> Tensor:
        """The same on a float tensor."""
        rows, columns = token_grid(*pixels.shape[-2:])
        return patches(normalize(resize_in_steps(pixels, rows * _TOKEN, columns * _TOKEN)))

    def encode_images(self, inputs: Tensor) -> Tensor:
        """Framed patches -> framed tokens (batch, 1 + 480, width)."""
        return torch.stack([self._tokens_of(*_unframed(one, _PATCHES)) for one in inputs])

    def _tokens_of(self, shown: Tensor, rows: int, columns: int) -> Tensor:
        grid = torch.tensor([[1, 2 * rows, 2 * columns]], device=shown.device)
        return _framed(self.visual(shown, grid).pooler_output[None], rows, columns, 1)[0]

    def encode_prompts(self, prompts: Sequence[str]) -> Tensor:
        """Token numbers from the end of the picture to the token of the score; after it zeros. (batch, longest).

        Raises:
            FergiRewardError: A prompt holds a token that is reserved, or is too long.
        """
        texts = [self._text(prompt) for prompt in prompts]
        longest = MAX_TOKENS if self.full_length else max(map(len, texts))
        return sent(torch.tensor([text + [0] * (longest - len(text)) for text in texts]), self.device)

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Refuse prompts that it cannot read, before a run draws for them.

        Raises:
            FergiRewardError: As `encode_prompts`.
        """
        for prompt in prompts:
            self._text(prompt)

    def _text(self, prompt: str) -> list[int]:
        if found := [token for token in _RESERVED if token in prompt]:
            raise FergiRewardError(f"the prompt {prompt!r:.60} holds {found[0]}, which hpsv3 reserves: leave it out")
        question = _AFTER_PICTURE + _question().replace("{text_prompt}", prompt)
        tokens: list[int] = self.tokenizer(question, add_special_tokens=False).input_ids
        if len(tokens) > MAX_TOKENS:
            raise FergiRewardError(
                f"the prompt {prompt!r:.60} and the question of hpsv3 have {len(tokens)} tokens, it reads "
                f"{MAX_TOKENS}: shorten the prompt"
            )
        return tokens

    def compare(self, images: Tensor, texts: Tensor) -> Tensor:
        """The mean, (batch,)."""
        return self.judge(images, texts)[0]

    def judge(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Image features and text features, row by row -> means and standard deviations, (batch,) each.

        The head gives the mean and the logarithm of the standard deviation.
        """
        last = torch.stack([self._last_state(*pair) for pair in zip(images, texts, strict=True)])
        mean, log_sigma = at_least_float32(self.rm_head(last.to(next(self.rm_head.parameters()).dtype))).unbind(-1)
        return mean, log_sigma.exp()

    def _last_state(self, image: Tensor, text: Tensor) -> Tensor:
        """The state at the token of the score: attention is causal, so nothing after it counts."""
        embed = self.model.embed_tokens
        before = self.tokenizer(_BEFORE_PICTURE, add_special_tokens=False, return_tensors="pt").input_ids[0]
        end = text.tolist().index(self.tokenizer.convert_tokens_to_ids(_REWARD)) + 1
        parts = [embed(sent(before, text.device)), _unframed(image, 1)[0].to(embed.weight.dtype), embed(text[:end])]
        states = self.model(inputs_embeds=torch.cat(parts)[None], use_cache=False).last_hidden_state
        return cast(Tensor, states[0, -1])

    def with_sigma(self, pixels: Tensor, prompts: str | Sequence[str]) -> tuple[Tensor, Tensor]:
        """As `forward`, and the standard deviations; gradients reach the pixels through both."""
        images, texts = self.features(pixels, prompts)
        with self._own_precision():
            return self.judge(images, texts)

    def score_with_sigma(
        self, images: Picture | Iterable[Picture] | Tensor, prompts: str | Sequence[str], *, batch_size: int = 8
    ) -> tuple[Tensor, Tensor]:
        """As `score`, and the standard deviations."""
        listed = images if isinstance(images, Tensor) else picture_list(images)
        with torch.inference_mode(), self._own_precision():
            encoded = self.encoded(listed, prompts, batch_size)
            judged = [(rows, torch.stack(self.judge(*features), dim=1).float()) for rows, *features in encoded]
        mean, sigma = in_order(judged).unbind(1)
        return mean, sigma

    def towers(self) -> Sequence[nn.Module]:
        """Qwen2-VL's vision transformer and its language model."""
        return [self.visual, self.model]


@cache
def _question() -> str:
    return Path(__file__).with_name("hpsv3_question.txt").read_text("utf-8")


def _tokenizer(path: Path) -> "PreTrainedTokenizerFast":
    from transformers import PreTrainedTokenizerFast

    read_json(path)
    try:
        return PreTrainedTokenizerFast(tokenizer_file=str(path))
    except Exception as error:  # tokenizers raises no other
        raise FergiRewardError(f"{path} is no tokenizer ({error}): download it again") from error


def token_grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of tokens of a picture: rounded where that makes 256, else down to fewer or up to more.

    Raises:
        FergiRewardError: One side is more than 200 times the other.

    >>> token_grid(512, 512), token_grid(768, 1344), token_grid(100, 300)
    ((16, 16), (12, 21), (10, 28))
    """
    if max(height, width) > _SIDES_AT_MOST * min(height, width):
        raise FergiRewardError(
            f"the picture is {width} x {height}, hpsv3 reads none with a side above {_SIDES_AT_MOST} times the other: "
            "crop it"
        )
    rows, columns = max(1, round(height / _TOKEN)), max(1, round(width / _TOKEN))
    if rows * columns == _TOKENS:
        return rows, columns
    if rows * columns > _TOKENS:
        shrunk = math.sqrt(height * width / (_TOKENS * _TOKEN**2))
        return math.floor(height / shrunk / _TOKEN), math.floor(width / shrunk / _TOKEN)
    enlarged = math.sqrt(_TOKENS * _TOKEN**2 / (height * width))
    return math.ceil(height * enlarged / _TOKEN), math.ceil(width * enlarged / _TOKEN)


def patches(inputs: Tensor) -> Tensor:
    """Normalised pixels (batch, 3, 28 rows, 28 columns) -> framed patches of 14 x 14, the four of a token together.

    Qwen2-VL reads patches of two frames of a video; a picture is shown twice.
    """
    rows, columns = inputs.shape[-2] // _TOKEN, inputs.shape[-1] // _TOKEN
    cut = inputs.unflatten(-1, (columns, 2, -1)).unflatten(2, (rows, 2, -1))  # batch, 3, rows, 2, 14, columns, 2, 14
    by_token = cut.permute(0, 2, 5, 3, 6, 1, 4, 7).unsqueeze(6).expand(*[-1] * 6, 2, -1, -1)
    return _framed(by_token.flatten(1, 4).flatten(2), rows, columns, _PATCHES)


def _framed(values: Tensor, rows: int, columns: int, of_token: int) -> Tensor:
    """(batch, n, width) -> (batch, 1 + most, width): rows and columns in front, zeros at the end.

    Both are at most 227 and exact in any dtype.
    """
    size = values.new_zeros(len(values), 1, values.shape[-1])
    size[..., 0], size[..., 1] = rows, columns
    filling = values.new_zeros(len(values), _MOST_TOKENS * of_token - values.shape[1], values.shape[-1])
    return torch.cat([size, values, filling], dim=1)


def _unframed(framed: Tensor, of_token: int) -> tuple[Tensor, int, int]:
    """(1 + most, width) -> the rows that count, and how many rows and columns of tokens they are."""
    rows, columns = map(int, framed[0, :2].tolist())
    return framed[1 : 1 + rows * columns * of_token], rows, columns


def _renamed(key: str) -> str | None:
    """The checkpoint's name of a weight -> this module's, None for the language model's own head."""
    return None if key == "lm_head.weight" else key
