"""Whether what the network predicts for an image depends on where that image is in its batch.

Training shuffles images and steps. Where a kernel sums in another order at another place, log-probabilities of sampling
and of training differ, and the importance ratio before an update is not 1.
"""

from collections import defaultdict
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fergi_reward.trainers.lora import add_lora

ORDER = [2, 0, 3, 1]
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@pytest.mark.parametrize("rank", [4, 8, 32])
@pytest.mark.parametrize("precision", DTYPES)
def test_a_prediction_has_the_same_bits_at_every_place(
    precision: str, rank: int, measured: Callable[..., None]
) -> None:
    from official_models import official_pipeline

    dtype = DTYPES[precision]
    pipeline = official_pipeline("stable-diffusion-v1-5/stable-diffusion-v1-5", "cuda", dtype)
    for factor in add_lora(pipeline, rank=rank, alpha=rank, seed=0):
        factor.data.normal_(0, 0.02)
    unet, seen = pipeline.unet, defaultdict[str, list[Tensor]](list)
    for name, part in unet.named_modules():
        part.register_forward_hook(lambda _, __, given, name=name: keep(seen[name], given))
    draws = torch.Generator("cuda").manual_seed(0)
    latents = torch.randn(4, 4, 64, 64, device="cuda", generator=draws)
    texts = torch.randn(4, 77, 768, device="cuda", generator=draws, dtype=dtype)
    times = torch.tensor([900, 500, 100, 20], device="cuda")
    with torch.no_grad(), torch.autocast("cuda", dtype=dtype):
        straight = unet(latents, times, texts, return_dict=False)[0]
        shuffled = unet(latents[ORDER], times[ORDER], texts[ORDER], return_dict=False)[0]
    apart = [name for name, found in seen.items() if not same(found)]
    measured("largest difference", (straight[ORDER] - shuffled).abs().max().item(), 0)
    assert not apart, f"{len(apart)} of {len(seen)} layers differ; the first is {apart[0]}, {kind(unet, apart[0])}"


def keep(found: list[Tensor], given: object) -> None:
    if isinstance(given, Tensor):
        found.append(given)


def same(found: list[Tensor]) -> bool:
    """Whether the second half of a layer's results are the first half's, in the other order."""
    half = len(found) // 2
    return all(torch.equal(one[ORDER], other) for one, other in zip(found[:half], found[half:], strict=True))


def kind(network: nn.Module, name: str) -> str:
    return str(network.get_submodule(name))[:200]
