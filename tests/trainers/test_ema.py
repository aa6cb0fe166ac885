import json

import pytest
import torch
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file
from torch import nn

from fergi_reward.toy import tiny
from fergi_reward.trainers.ema import EMA


def test_the_average_by_hand():
    parameter = nn.Parameter(torch.tensor([0.0]))
    ema = EMA([parameter], decay=0.25)
    for value in (1.0, 2.0):
        parameter.data.fill_(value)
        ema.update()
    # Step 1: decay min(1/4, 2/11) = 2/11, average 9/11. Step 2: decay min(1/4, 3/12): 9/11/4 + 3/4 * 2.
    assert ema.averages[0].item() == pytest.approx(9 / 44 + 1.5)
    with ema.swapped_in():
        assert parameter.item() == pytest.approx(9 / 44 + 1.5)
    assert parameter.item() == 2


def test_an_average_every_third_update_by_hand():
    parameter = nn.Parameter(torch.tensor([0.0]))
    ema = EMA([parameter], decay=0.9, every=3)
    averages = []
    for value in range(1, 7):
        parameter.data.fill_(value)
        ema.update()
        averages.append(ema.averages[0].item())
    # Update 3: decay 4/13 of 0 and 9/13 of 3; update 6: decay 7/16.
    assert averages == pytest.approx([0, 0, 27 / 13, 27 / 13, 27 / 13, 7 / 16 * 27 / 13 + 9 / 16 * 6])


def test_the_decay_is_that_of_diffusers_one_update_later():
    diffusers = EMAModel([nn.Parameter(torch.tensor([0.0]))], decay=0.9)
    parameter = nn.Parameter(torch.tensor([0.0]))
    ema = EMA([parameter], decay=0.9)
    for update in range(1, 200):
        parameter.data.fill_(1.0)
        ema.averages[0].fill_(0.0)
        ema.update()
        assert 1 - ema.averages[0].item() == pytest.approx(diffusers.get_decay(update + 1), abs=1e-6)


def test_a_restored_average_continues_as_the_old_one():
    parameter = nn.Parameter(torch.tensor([3.0]))
    old, new = EMA([parameter], 0.9), EMA([parameter], 0.9)
    parameter.data.fill_(5.0)
    old.update()
    new.load_state_dict(old.state_dict())
    for ema in (old, new):
        ema.update()
    assert torch.equal(old.averages[0], new.averages[0])


def test_a_run_ends_with_the_average_and_resumes_to_the_same(backprop_trainer_of, tmp_path):
    options = {"num_epochs": 4, "save_freq": 2, "ema_decay": 0.5, "ema_freq": 3}  # due after the checkpoint
    plain = backprop_trainer_of(num_epochs=4, output_dir=str(tmp_path / "plain"))
    plain.train()
    whole = backprop_trainer_of(**options, pipeline=tiny.stable_diffusion(), output_dir=str(tmp_path / "whole"))
    whole.train()
    checkpoint = str(whole.loop.run.checkpoints.folder / "epoch_0002")
    resumed = backprop_trainer_of(**options, pipeline=tiny.stable_diffusion(), resume_from=checkpoint)
    resumed.train()
    assert all(torch.equal(*pair) for pair in zip(whole.model.parameters, resumed.model.parameters, strict=True))
    # The average trails behind, and does not change what is trained.
    assert not torch.equal(whole.model.parameters[0], plain.model.parameters[0])
    losses, plain_losses = (
        [json.loads(line)["loss"] for line in trainer.loop.run.metrics_file.read_text().splitlines()]
        for trainer in (whole, plain)
    )
    assert losses == plain_losses


def test_an_average_that_is_switched_on_at_resume_begins_at_the_checkpoint(backprop_trainer_of):
    def adapter(name):
        return load_file(first.loop.run.folder / name / "pytorch_lora_weights.safetensors")

    first = backprop_trainer_of(num_epochs=1, save_freq=1)
    first.train()
    options = {"num_epochs": 2, "save_freq": 1, "resume_from": str(first.loop.run.folder), "ema_decay": 0.5}
    backprop_trainer_of(pipeline=tiny.stable_diffusion(), **options).train()
    before, after, average = (adapter(name) for name in ("checkpoints/epoch_0001", "checkpoints/epoch_0002", "lora"))
    for name, value in average.items():
        torch.testing.assert_close(value, (2 * before[name] + 9 * after[name]) / 11)  # one update
    assert not all(torch.equal(before[name], after[name]) for name in before)
