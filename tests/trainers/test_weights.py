import diffusers
import pytest
import torch

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.diffusion.family import family_of
from fergi_reward.toy import tiny
from fergi_reward.trainers.config import TrainerConfig
from fergi_reward.trainers.weights import attach, copied, loading_line
from tests import tiny_families
from tests.tiny_families import KINDS

CPU = torch.device("cpu")


def attached(pipeline, full, dtype=torch.float32):
    return attach(pipeline, TrainerConfig(full_finetuning=full), CPU, dtype)


def moved(weights):
    with torch.no_grad():
        for parameter in weights.parameters:
            parameter.add_(0.1)


def denoiser(pipeline):
    return getattr(pipeline, "transformer", None) or pipeline.unet


def drawn(pipeline):
    return tiny_families.drawn(pipeline, ["a cat"], tiny_families.noise_for(family_of(pipeline), 1))


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_reference_is_the_model_before_training_and_plain_diffusers_loads_what_was_saved(kind, full, tmp_path):
    pipeline = kind()
    before = drawn(pipeline)
    weights = attached(pipeline, full)
    assert torch.equal(drawn(pipeline), before)
    moved(weights)
    after = drawn(pipeline)
    assert (after - before).abs().max() > 0.01
    with weights.reference():
        assert torch.equal(drawn(pipeline), before)
    assert torch.equal(drawn(pipeline), after)
    weights.writer(keeps=True)(tmp_path)
    line = loading_line(pipeline, TrainerConfig(full_finetuning=full), str(tmp_path))
    fresh = {"pipeline": kind(), **vars(diffusers)}
    exec(line, fresh)
    ours, theirs = (denoiser(each).state_dict() for each in (pipeline, fresh["pipeline"]))
    if full:  # bit for bit: pictures differ by rounding, which depends on where in memory the weights lie
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert (drawn(fresh["pipeline"]) - after).abs().max() < (1e-5 if full else 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_full_fine_tuning_trains_the_network_and_nothing_else_in_full_precision(kind):
    pipeline = kind()
    published = copied(list(family_of(pipeline).network.parameters()))
    weights = attached(pipeline, full=True, dtype=torch.bfloat16)
    parts = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    trained = {name for name, part in parts.items() if any(value.requires_grad for value in part.parameters())}
    assert trained == {family_of(pipeline).network_name}
    assert pipeline.vae.dtype == torch.bfloat16
    # Not a bit was lost on the way.
    assert all(torch.equal(*pair) for pair in zip(weights.parameters, published, strict=True))
    with weights.reference():
        assert all(torch.equal(*pair) for pair in zip(family_of(pipeline).network.parameters(), published, strict=True))
        assert not any(value.requires_grad for value in family_of(pipeline).network.parameters())


@pytest.mark.parametrize("full", [False, True])
def test_loading_restores_every_bit(full, tmp_path, pipeline):
    weights = attached(pipeline, full)
    saved = copied(weights.parameters)
    weights.writer(keeps=True)(tmp_path)
    moved(weights)
    weights.load(tmp_path)
    assert all(torch.equal(*pair) for pair in zip(weights.parameters, saved, strict=True))


def test_a_damaged_file_is_named(tmp_path, pipeline):
    weights = attached(pipeline, full=True)
    weights.writer(keeps=True)(tmp_path)
    file = next(tmp_path.glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(FergiRewardError, match=f"the weights in {tmp_path} are missing or damaged"):
        weights.load(tmp_path)


def test_a_fully_fine_tuned_run_resumes_to_the_same_bits(backprop_trainer_of, tmp_path):
    options = {"num_epochs": 3, "save_freq": 2, "full_finetuning": True, "ema_decay": 0.5, "train_learning_rate": 1e-4}
    whole = backprop_trainer_of(**options, output_dir=str(tmp_path / "whole"))
    folder = whole.train()
    assert folder.name == "unet"
    assert "UNet2DConditionModel.from_pretrained" in (folder / "README.md").read_text()
    checkpoint = str(whole.loop.run.checkpoints.folder / "epoch_0002")
    resumed = backprop_trainer_of(**options, pipeline=tiny.stable_diffusion(), resume_from=checkpoint)
    resumed.train()
    assert all(torch.equal(*pair) for pair in zip(whole.model.parameters, resumed.model.parameters, strict=True))
