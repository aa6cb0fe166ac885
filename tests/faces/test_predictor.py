"""The predictor's folder, and which PickScore it reads."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.faces.heads import Heads, HeadSizes, principal_components
from fergi_reward.faces.predictor import ReactionPredictor
from fergi_reward.toy import tiny

EMBEDDINGS = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def saved(predictor_for, tmp_path):
    predictor = predictor_for(tiny.pickscore())
    predictor.save(tmp_path)
    return predictor, tmp_path


def test_a_head_by_hand():
    heads = Heads(HeadSizes(width=2, components=1, hidden=1, members=2))
    with torch.no_grad():
        heads.centre[0], heads.basis[0] = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0], [0.0]])
        heads.into[0, 0], heads.out[0], heads.bias[1], heads.out[1] = 1.0, 3.0, 1.0, -1.0
    # The first head sees 2 x (2 - 1) = 2, of which gelu makes 1.9545; the second its own bias, 0.8413.
    prediction = heads(torch.tensor([[2.0, 7.0]]), torch.zeros(1, 2))
    one, other = -1 / (1 + math.exp(-3 * 1.9545)), -1 / (1 + math.exp(0.8413))
    assert prediction.mean.item() == pytest.approx((one + other) / 2, abs=1e-4)
    assert prediction.uncertainty.item() == pytest.approx(abs(one - other) / 2, abs=1e-4)


def test_components_keep_their_proportions_and_what_never_differs_says_nothing():
    embeddings = torch.randn(300, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([9, 3, 1, 1, 1, 1.0])
    centre, basis = principal_components(embeddings, 3)
    seen = (embeddings - centre) @ basis
    assert seen.square().mean().item() == pytest.approx(1, abs=1e-3)
    assert seen[:, 0].std() / seen[:, 1].std() == pytest.approx(3, rel=0.15)
    assert not principal_components(embeddings[:1].expand(300, 6), 3)[1].any()


def test_gradients_are_those_of_finite_differences(predictor_for):
    predictor = predictor_for(tiny.pickscore())
    images, texts = EMBEDDINGS.double().requires_grad_()

    def both(images, texts):
        prediction = predictor(images, texts)
        return prediction.mean, prediction.uncertainty

    assert torch.autograd.gradcheck(both, (images, texts))


def test_an_autocast_changes_nothing(predictor_for):
    predictor = predictor_for(tiny.pickscore())
    with torch.autocast("cpu", torch.bfloat16):
        low = predictor(*EMBEDDINGS)
    torch.testing.assert_close(low.mean, predictor(*EMBEDDINGS).mean, rtol=0, atol=0)


def test_what_was_saved_comes_back(saved):
    predictor, folder = saved
    loaded = ReactionPredictor.load(folder)
    assert loaded.record == predictor.record
    assert loaded.fingerprint == predictor.fingerprint
    torch.testing.assert_close(loaded(*EMBEDDINGS), predictor(*EMBEDDINGS), rtol=0, atol=0)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_an_interval_is_the_quantiles_of_the_residuals(saved):
    predictor, _ = saved
    prediction = predictor(*EMBEDDINGS)
    low, high = predictor.interval(prediction, 0.8)
    spread = (0.2**2 + prediction.uncertainty**2).sqrt()
    torch.testing.assert_close(low, (prediction.mean - 1.5 * spread).clamp(min=-1))
    torch.testing.assert_close(high, (prediction.mean + 0.5 * spread).clamp(max=0))
    with pytest.raises(FergiRewardError, match=r"intervals of 0\.5, 0\.8, 0\.95, none of 0\.9"):
        predictor.interval(prediction, 0.9)


def edited(key, value):
    def edit(folder):
        record = json.loads((folder / "predictor.json").read_text())
        (record["held_out"] if key in record["held_out"] else record)[key] = value
        (folder / "predictor.json").write_text(json.dumps(record))

    return edit


def other_weights(folder):
    weights = load_file(folder / "heads.safetensors")
    save_file({name: value + 1 for name, value in weights.items()}, folder / "heads.safetensors")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (edited("schema", 2), "has schema 2, this version reads 1"),
        (edited("decay", "fast"), "decay is 'fast', must be a finite number"),
        (edited("accuracy", float("nan")), "NaN is no JSON number"),
        (edited("ci95", [0.6, 0.7]), "do not belong together, or were changed"),
        (edited("colour", "red"), "has unknown colour"),
        (other_weights, "do not belong together, or were changed"),
        (lambda folder: (folder / "heads.safetensors").unlink(), "it has no heads.safetensors"),
        (lambda folder: (folder / "heads.safetensors").write_bytes(b"short"), "damaged, cut short or another file"),
    ],
)
def test_a_damaged_folder_is_refused(saved, damage, message):
    _, folder = saved
    damage(folder)
    with pytest.raises(FergiRewardError, match=message):
        ReactionPredictor.load(folder)


def test_another_pickscore_is_refused(predictor_for):
    tower = tiny.pickscore(seed=0)
    predictor = predictor_for(tower)
    predictor.check_tower(tower)
    lower = tiny.pickscore(seed=0)
    for part in lower.towers():
        part.bfloat16()
    predictor.check_tower(lower)
    with pytest.raises(FergiRewardError, match="fitted on a PickScore of the fingerprint"):
        predictor.check_tower(tiny.pickscore(seed=1))
    wide = tiny.pickscore(seed=0)
    wide.model.config.projection_dim = 32
    with pytest.raises(FergiRewardError, match="embeddings of 16 numbers, this PickScore makes 32"):
        predictor.check_tower(wide)
