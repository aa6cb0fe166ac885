"""Adapters that are put on a pipeline, as diffusers writes them."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.diffusion.trained_weights import load_adapter, load_network
from fergi_reward.toy import tiny
from fergi_reward.trainers.lora import add_lora, save_lora


def test_an_adapter_that_was_cut_off_is_damaged_and_not_of_another_model(tmp_path):
    pipeline = tiny.stable_diffusion()
    add_lora(pipeline, rank=2, alpha=2, seed=0)
    save_lora(pipeline, tmp_path)
    load_adapter(tiny.stable_diffusion(), tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    for left in (file.read_bytes()[:-100], b""):
        file.write_bytes(left)
        with pytest.raises(FergiRewardError, match=r"safetensors is damaged \(.*\): copy or save the adapter again"):
            load_adapter(tiny.stable_diffusion(), tmp_path)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """Tensors of a whole adapter that changes the pictures, and the metadata of their file."""
    pipeline, folder = tiny.stable_diffusion(), tmp_path_factory.mktemp("adapter")
    for parameter in add_lora(pipeline, rank=2, alpha=2, seed=0):
        parameter.data += 0.1
    save_lora(pipeline, folder)
    (file,) = folder.glob("*.safetensors")
    with safe_open(file, "pt") as opened:
        return load_file(file), opened.metadata()


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda whole: dict(sorted(whole.items())[: len(whole) // 2]), "lacks 32 of its 64 tensors, such as unet."),
        (lambda whole: dict(sorted(whole.items())[1:]), "lacks 1 of its 64 tensors, such as unet.down_blocks"),
        (lambda whole: {name: one for name, one in whole.items() if "lora_A" in name}, "lacks 32 of its 64 tensors"),
        (lambda whole: {name: 0 * one for name, one in whole.items()}, "all 64 tensors in .* are 0"),
        (
            lambda whole: whole | {name: one / 0 for name, one in whole.items() if "mid_block" in name},
            r"pytorch_lora_weights.safetensors holds numbers that are not finite, first in unet.mid_block",
        ),
    ],
)
def test_an_adapter_that_is_not_whole_is_refused(adapter, broken, message, tmp_path):
    tensors, metadata = adapter
    save_file(broken(tensors), tmp_path / "pytorch_lora_weights.safetensors", metadata=metadata)
    with pytest.raises(FergiRewardError, match=message):
        load_adapter(tiny.stable_diffusion(), tmp_path)


def test_an_adapter_with_the_names_of_diffusers_is_whole_and_without_a_layer_is_not(adapter, tmp_path):
    tensors, metadata = adapter
    renamed = {
        name.replace("lora_A", "lora.down").replace("lora_B", "lora.up"): tensors[name] for name in sorted(tensors)
    }
    file = tmp_path / "pytorch_lora_weights.safetensors"
    save_file(renamed, file, metadata=metadata)
    load_adapter(tiny.stable_diffusion(), tmp_path)
    save_file(dict(list(renamed.items())[2:]), file, metadata=metadata)
    with pytest.raises(FergiRewardError, match="lacks 2 of its 64 tensors"):
        load_adapter(tiny.stable_diffusion(), tmp_path)


def test_a_network_that_is_not_whole_is_refused(tmp_path):
    pipeline = tiny.stable_diffusion()
    pipeline.unet.save_pretrained(tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    tensors = load_file(file)
    load_network(pipeline, tmp_path)
    save_file({name: one for name, one in tensors.items() if name != "conv_in.bias"}, file, metadata={"format": "pt"})
    with pytest.raises(FergiRewardError, match=r"lacks 1 of its \d+ tensors, such as conv_in.bias"):
        load_network(pipeline, tmp_path)
    save_file(tensors | {"conv_in.bias": torch.full_like(tensors["conv_in.bias"], torch.nan)}, file, {"format": "pt"})
    with pytest.raises(FergiRewardError, match=r"not finite, first in conv_in\.bias"):
        load_network(pipeline, tmp_path)
