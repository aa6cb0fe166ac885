import re

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.diffusion.family import family_of
from fergi_reward.toy import tiny
from fergi_reward.trainers.lora import WEIGHTS_FILE, add_lora, load_lora, save_lora
from tests import tiny_families
from tests.tiny_families import KINDS, TOKENS


def drawn(pipeline, latents, tokens=None):
    return tiny_families.drawn(pipeline, ["a cat"] * 2, latents, tokens=tokens)


def test_a_fresh_adapter_changes_nothing_and_only_it_can_be_trained(pipeline, start_latents):
    before = drawn(pipeline, start_latents)
    parameters = add_lora(pipeline, rank=2, alpha=2, seed=0)
    assert (drawn(pipeline, start_latents) == before).all()
    trainable = [name for name, parameter in pipeline.unet.named_parameters() if parameter.requires_grad]
    assert len(trainable) == len(parameters)
    assert all("lora" in name for name in trainable)
    assert not any(parameter.requires_grad for parameter in pipeline.vae.parameters())


def is_plain(part):
    """A linear layer, or a convolution over all channels, as SANA has."""
    return isinstance(part, nn.Linear) or (isinstance(part, nn.Conv2d) and part.groups == 1)


def feed_forward(network):
    """The names of the layers of all feed-forward parts, as this network calls them."""
    parts = r"\.(ff|ff_context|feed_forward|img_mlp|txt_mlp)\."
    return [name for name, part in network.named_modules() if is_plain(part) and re.search(parts, name)]


@pytest.mark.parametrize("adapted", ["attention", "feed-forward"])
@pytest.mark.parametrize("kind", KINDS)
def test_plain_diffusers_draws_the_same_with_the_adapter_whether_it_reads_its_metadata_or_not(kind, adapted, tmp_path):
    pipeline = kind(seed=0)
    targets = ["to_q", *feed_forward(family_of(pipeline).network)] if adapted == "feed-forward" else None
    assert targets != ["to_q"]
    start_latents = torch.randn(2, *family_of(pipeline).latent_shape, generator=torch.Generator().manual_seed(0))
    base = drawn(pipeline, start_latents, TOKENS.get(kind))
    # An alpha unlike the rank: diffusers takes them for equal where it is not given.
    for parameter in add_lora(pipeline, rank=2, alpha=8, seed=0, targets=targets):
        torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(1))
    tuned = drawn(pipeline, start_latents, TOKENS.get(kind))
    save_lora(pipeline, tmp_path)
    assert abs(tuned - base).max() > 0.01
    fresh = kind(seed=0)
    for given in (tmp_path, load_file(tmp_path / WEIGHTS_FILE)):
        fresh.load_lora_weights(given)
        assert abs(drawn(fresh, start_latents, TOKENS.get(kind)) - tuned).max() < 1e-6
        fresh.unload_lora_weights()


def test_an_adapter_is_on_the_layers_that_are_named_and_on_no_others(pipeline):
    add_lora(pipeline, rank=2, alpha=2, seed=0, targets=["attn2.to_q", "ff.net.0.proj"])
    adapted = {name for name, module in pipeline.unet.named_modules() if hasattr(module, "lora_A")}
    assert adapted
    ends = ("attn2.to_q", "ff.net.0.proj")
    layers = (name.removesuffix(".base_layer") for name, _ in pipeline.unet.named_modules())
    assert adapted == {name for name in layers if name.endswith(ends)}


@pytest.mark.parametrize("wrong", ["q_proj", "norm1", "ff", "o_q", "to_out", ""])
def test_a_name_that_is_no_layers_is_refused_with_those_that_there_are(pipeline, wrong):
    expected = f"names {wrong}, which are no layers of the unet that can be adapted: it has .*proj, .*to_out.0, to_q, "
    with pytest.raises(FergiRewardError, match=expected):
        add_lora(pipeline, rank=2, alpha=2, seed=0, targets=["to_k", wrong])
    assert not getattr(pipeline.unet, "peft_config", None)


def test_convolutions_in_groups_are_not_adapted():
    with pytest.raises(FergiRewardError, match="names conv_depth, which are no layers of the transformer that can be"):
        add_lora(tiny.sana(), rank=2, alpha=2, seed=0, targets=["conv_depth"])


def test_loading_restores_every_bit(pipeline, tmp_path):
    parameters = add_lora(pipeline, rank=2, alpha=2, seed=0)
    saved = [parameter.detach().clone() for parameter in parameters]
    save_lora(pipeline, tmp_path)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(1)
    load_lora(pipeline, tmp_path)
    assert all(torch.equal(*pair) for pair in zip(parameters, saved, strict=True))


def test_a_second_adapter_is_refused(pipeline):
    add_lora(pipeline, rank=2, alpha=2, seed=0)
    with pytest.raises(FergiRewardError, match="already carries the adapter 'reward'"):
        add_lora(pipeline, rank=2, alpha=2, seed=0)


@pytest.mark.parametrize("size", [0, 100])
def test_a_damaged_adapter_is_named(pipeline, tmp_path, size):
    add_lora(pipeline, rank=2, alpha=2, seed=0)
    save_lora(pipeline, tmp_path)
    file = next(tmp_path.glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(FergiRewardError, match=r"safetensors is missing or damaged"):
        load_lora(pipeline, tmp_path)
