import pytest
import torch
from accelerate import Accelerator
from diffusers.optimization import get_scheduler
from torch import nn
from transformers.optimization import Adafactor

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.toy import tiny
from fergi_reward.trainers import optimisation
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.dry_run import dry_run
from fergi_reward.trainers.optimisation import Optimisation, moment_numbers, warmed_up


def test_gradients_are_exchanged_in_pieces_of_bounded_size(monkeypatch):
    monkeypatch.setattr(optimisation, "BUCKET", 10)
    gradients = [torch.zeros(size) for size in (4, 6, 1, 25, 10, 3)]
    buckets = [[gradient.numel() for gradient in bucket] for bucket in optimisation._buckets(gradients)]
    # In order, none over 10 but the one that is larger by itself.
    assert buckets == [[4, 6], [1], [25], [10], [3]]


def parameters_and_gradients():
    """A matrix and a vector, and their gradients for ten updates."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 3), (5,)]
    parameters = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    return parameters, [[0.1 * torch.randn(shape, generator=generator) for shape in shapes] for _ in range(10)]


def updated(optimisation, gradients):
    """The parameters after each update."""
    values = []
    for of_update in gradients:
        for parameter, gradient in zip(optimisation.parameters, of_update, strict=True):
            parameter.grad = gradient.clone()
        optimisation.step()
        values.append([parameter.detach().clone() for parameter in optimisation.parameters])
    return values


def of_the_libraries(optimizer, warmup):
    """The same with the optimiser and the schedule of torch, transformers and diffusers."""
    parameters, gradients = parameters_and_gradients()
    made = (
        torch.optim.AdamW(parameters, lr=0.01, weight_decay=1e-2)
        if optimizer == "adamw"
        else Adafactor(
            parameters,
            lr=0.01,
            weight_decay=1e-2,
            clip_threshold=1.0,
            scale_parameter=False,
            relative_step=False,
        )
    )
    schedule = get_scheduler("constant_with_warmup", made, num_warmup_steps=warmup)
    values = []
    for of_update in gradients:
        for parameter, gradient in zip(parameters, of_update, strict=True):
            parameter.grad = gradient.clone()
        made.step()
        schedule.step()
        values.append([parameter.detach().clone() for parameter in parameters])
    return values


def config_of(**options):
    return TrainerConfig(train_learning_rate=0.01, train_adam_weight_decay=1e-2, train_max_grad_norm=1e9, **options)


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
@pytest.mark.parametrize("warmup", [0, 4])
def test_updates_are_those_of_the_published_optimiser_and_schedule_also_after_a_pause(optimizer, warmup):
    config = config_of(train_optimizer=optimizer, train_warmup_steps=warmup)
    parameters, gradients = parameters_and_gradients()
    first = Optimisation(Accelerator(cpu=True), parameters, config)
    values = updated(first, gradients[:3])
    second = Optimisation(Accelerator(cpu=True), [nn.Parameter(value.clone()) for value in values[-1]], config)
    second.load_state_dict(first.state_dict())
    values += updated(second, gradients[3:])
    for ours, theirs in zip(values, of_the_libraries(optimizer, warmup), strict=True):
        assert all(torch.equal(*pair) for pair in zip(ours, theirs, strict=True))
    if warmup:  # the first rate is 0, and rises
        start, _ = parameters_and_gradients()
        assert torch.equal(values[0][0], start[0].detach())
        assert not torch.equal(values[1][0], values[0][0])


def test_a_state_of_other_parameters_is_refused():
    config = config_of(train_optimizer="adafactor")
    parameters, gradients = parameters_and_gradients()
    first = Optimisation(Accelerator(cpu=True), parameters, config)
    updated(first, gradients[:1])
    second = Optimisation(Accelerator(cpu=True), [nn.Parameter(torch.zeros(4, 2)), parameters[1]], config)
    with pytest.raises(FergiRewardError, match="of 2 other parameters"):
        second.load_state_dict(first.state_dict())


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_what_an_optimiser_keeps_is_what_is_counted(optimizer):
    parameters = [nn.Parameter(torch.ones(shape)) for shape in [(4, 3), (5,), (2, 3, 4, 4)]]
    made = Optimisation(Accelerator(cpu=True), parameters, config_of(train_optimizer=optimizer))
    updated(made, [[torch.ones_like(parameter) for parameter in parameters]])
    kept = [value for state in made.optimizer.state.values() for value in state.values() if torch.is_tensor(value)]
    assert moment_numbers(optimizer, parameters) == sum(value.numel() for value in kept if value.ndim)


def test_a_dry_run_counts_the_optimiser():
    def of(optimizer):
        config = TrainerConfig(full_finetuning=True, train_optimizer=optimizer)
        return dry_run(config, tiny.stable_diffusion(), {})

    adamw, adafactor = of("adamw"), of("adafactor")
    assert adamw.optimizer == 16 * adamw.trained
    assert 8 * adafactor.trained < adafactor.optimizer < 11 * adafactor.trained


def test_options_of_one_optimiser_are_refused_with_the_other():
    with pytest.raises(FergiRewardError, match=r"train_adam_beta1 is 0.5, which adafactor does not read"):
        TrainerConfig(train_optimizer="adafactor", train_adam_beta1=0.5)


def test_a_warm_up_by_hand():
    assert [warmed_up(done, 500) for done in (0, 1, 250, 500, 2000)] == [0, 0.002, 0.5, 1, 1]
