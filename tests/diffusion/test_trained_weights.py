"""Adapters that are put on a pipeline, as diffusers writes them."""

import pytest

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.diffusion.trained_weights import load_adapter
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
