"""Pixels as a safetensors file: the fast path of `POST /v1/score`; the answer is that of `json_rows`."""

from typing import Any

import torch

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.serve.options import ServeLimits
from fergi_reward.serve.protocols.asked import Body, bounded_json, checked_prompts
from fergi_reward.serve.protocols.json_rows import checked_ids

MEDIA_TYPE = "application/vnd.safetensors"
LONGEST_HEADER = 1 << 24
DTYPES = (torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64)


def parse(body: bytes, limits: ServeLimits) -> Body:
    """Read a request: one tensor `pixels` (B, 3, H, W), uint8 or floats in [0, 1], and `prompts` in the metadata.

    Raises:
        FergiRewardError: It is not of this form.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        metadata, tensors = _metadata(body), load(body)
    except (SafetensorError, ValueError, RecursionError) as error:
        raise FergiRewardError(f"the body is no safetensors file: {error}") from error
    if set(tensors) != {"pixels"}:
        raise FergiRewardError(f"the body holds the tensors {', '.join(sorted(tensors)) or 'none'}, must hold `pixels`")
    pixels = tensors["pixels"]
    if pixels.ndim != 4 or pixels.shape[1] != 3:
        raise FergiRewardError(f"pixels have the shape {tuple(pixels.shape)}, must be (images, 3, height, width)")
    if pixels.dtype not in DTYPES:
        raise FergiRewardError(f"pixels are {pixels.dtype}, must be uint8, or floats in [0, 1] of 16 bits or more")
    if pixels.shape[2] * pixels.shape[3] > limits.max_pixels:
        raise FergiRewardError(
            f"pixels have the shape {tuple(pixels.shape)}, and {limits.max_pixels:,} are allowed each: make them "
            "smaller, or start the server with a larger --max-pixels"
        )
    prompts = checked_prompts(_texts(metadata, "prompts"), len(pixels), limits.max_images)
    return Body(prompts, pixels=pixels, image_ids=checked_ids(_texts(metadata, "image_ids"), len(pixels)))


def _metadata(body: bytes) -> dict[str, Any]:
    """The free part of the header, which `safetensors` reads from files only."""
    length = int.from_bytes(body[:8], "little")
    if len(body) < 8 or length > min(len(body) - 8, LONGEST_HEADER):
        raise ValueError("its header is longer than itself")
    header = bounded_json(body[8 : 8 + length])
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    return metadata if isinstance(metadata, dict) else {}


def _texts(metadata: dict[str, Any], name: str) -> Any:  # noqa: ANN401 - checked by the caller
    """A list of texts, which the metadata holds as JSON."""
    text = metadata.get(name)
    if text is None:
        return None
    try:
        return bounded_json(text.encode())
    except (ValueError, AttributeError) as error:
        raise FergiRewardError(f"{name} in the metadata must be a JSON list of texts") from error
