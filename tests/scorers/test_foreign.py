"""Anything that can be called is a scorer."""

from functools import partial

import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.checkpoint import checkpoint

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers import sigma
from fergi_reward.scorers.foreign import as_scorer
from fergi_reward.toy import tiny

PIXELS = torch.rand(3, 3, 5, 4, generator=torch.Generator().manual_seed(0))
MEANS = PIXELS.mean(dim=(1, 2, 3))


def brightness(pixels, prompts):
    return pixels.mean(dim=(1, 2, 3))


class Imscore(nn.Module):
    """Called, it gives what imscore's models give differently; its score is (B, 1) here."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))

    def score(self, pixels, prompts):
        return self.weight * pixels.mean(dim=(1, 2, 3))[:, None]


class Metric(nn.Module):
    """As torchmetrics' CLIPScore: 8 bits in, the mean of all that it was given out, until it is reset."""

    higher_is_better = True
    is_differentiable = False

    def __init__(self):
        super().__init__()
        self.reset()

    def reset(self):
        self.seen = []

    def update(self, images, text):
        assert images.dtype == torch.uint8
        assert len(images) == len(text)
        self.seen += [image.double().mean() / 255 + len(words) for image, words in zip(images, text, strict=True)]

    def compute(self):
        return torch.stack(self.seen).mean()

    def forward(self, images, text):
        before, self.seen = self.seen, []
        self.update(images, text)
        value = self.compute()
        self.seen = before + self.seen
        return value


def test_a_function_keeps_its_gradient_and_its_name():
    pixels = PIXELS.clone().requires_grad_()
    scorer = as_scorer(brightness)
    assert scorer.name == "brightness"
    (gradient,) = torch.autograd.grad(scorer(pixels, "a cat").sum(), pixels)
    assert torch.allclose(gradient, torch.full_like(pixels, 1 / 60))


def test_a_model_of_imscore_is_asked_by_its_score_and_moves():
    scorer = as_scorer(Imscore(), name="imscore")
    assert torch.allclose(scorer(PIXELS, "a cat"), 2 * MEANS)
    assert scorer.to("meta").device == torch.device("meta")


def test_a_metric_is_asked_image_by_image_and_keeps_nothing():
    metric = Metric()
    scorer = as_scorer(metric, name="metric")
    assert scorer(PIXELS, ["a", "bb", "ccc"]).tolist() == pytest.approx(
        (MEANS + torch.tensor([1, 2, 3])).tolist(), abs=2e-3
    )
    assert metric.seen == []
    assert not scorer.is_differentiable


def test_less_is_better_counts_with_its_sign_turned_and_once():
    scorer = as_scorer(brightness, higher_is_better=False)
    assert torch.equal(scorer(PIXELS, ""), -MEANS)
    assert torch.equal(as_scorer(scorer)(PIXELS, ""), -MEANS)
    assert torch.equal(as_scorer(scorer, name="other")(PIXELS, ""), -MEANS)
    assert "sign turned" in scorer.describe()["counts"]
    tower = tiny.pickscore()
    turned = as_scorer(tower, higher_is_better=False)
    assert torch.equal(turned(PIXELS, "a cat"), -tower(PIXELS, "a cat"))


def test_a_scorer_with_towers_stays_what_it_is():
    tower = tiny.pickscore()
    assert as_scorer(tower) is tower
    other = as_scorer(tower, name="other")
    assert (type(other), other.name, tower.name) == (type(tower), "other", "pickscore")
    assert torch.equal(other(PIXELS, "a cat"), tower(PIXELS, "a cat"))


def test_pictures_of_any_size_become_pixels_in_one_way():
    pictures = [Image.new("RGBA", (size, 4), (51, 102, 153, 0)) for size in (4, 6, 4)]
    asked = []

    def note(pixels, prompts):
        asked.append((tuple(pixels.shape), prompts))
        return pixels[:, 0].mean(dim=(1, 2)) + torch.tensor([len(prompt) for prompt in prompts])

    scores = as_scorer(note).score(pictures, ["", "a", "bb"], batch_size=3)
    assert scores.tolist() == pytest.approx([0.2, 1.2, 2.2])
    assert asked == [((2, 3, 4, 4), ["", "bb"]), ((1, 3, 4, 6), ["a"])]


def test_an_autocast_around_it_changes_nothing():
    product = as_scorer(lambda pixels, prompts: (pixels[:, 0] @ pixels[:, 0].mT).mean(dim=(1, 2)), name="product")
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(product(PIXELS, ""), product(PIXELS, ""))
        inside = product(PIXELS, "")
    assert torch.equal(inside, product(PIXELS, ""))


def test_its_digest_is_that_of_its_code_and_its_weights():
    def make(factor):
        return as_scorer(lambda pixels, prompts: factor * pixels[:, 0, 0, 0], name="made").weights_digest()

    model = Imscore()
    before = as_scorer(model, name="imscore").weights_digest()
    assert before == as_scorer(Imscore(), name="imscore").weights_digest()
    model.weight.data.fill_(3)
    assert before != as_scorer(model, name="imscore").weights_digest()
    assert make(1) == make(1) != make(2)
    assert as_scorer(brightness).weights_digest() != as_scorer(brightness, higher_is_better=False).weights_digest()


def test_what_says_its_own_digest_is_known_by_it():
    class Known:
        name = "known"
        told = "1"

        def __call__(self, pixels, prompts):
            return brightness(pixels, prompts)

        def weights_digest(self):
            return self.told

    known = Known()
    first = as_scorer(known).weights_digest()
    known.told = "2"
    assert first != as_scorer(known).weights_digest()


def lost(pixels, prompts):
    return pixels.detach().mean(dim=(1, 2, 3))


class Head(nn.Module):
    """A head that can be trained on features that `path` takes of the pixels."""

    name = "head"

    def __init__(self, path):
        super().__init__()
        self.head, self.path = nn.Linear(3, 1), path

    def forward(self, pixels, prompts):
        return self.head(self.path(pixels)).squeeze(1)


def without_gradient(pixels):
    with torch.no_grad():
        return pixels.mean((2, 3))


def in_a_checkpoint(pixels, use_reentrant):
    return checkpoint(lambda inputs: inputs.mean((2, 3)), pixels, use_reentrant=use_reentrant)


def written_into(pixels):
    return pixels.mul_(2).mean((2, 3))


def raises(pixels, prompts):
    raise KeyError("a key")


@pytest.mark.parametrize(
    ("scorer", "sentence"),
    [
        (as_scorer(lost), r"score of lost has lost the gradient .* is_differentiable = False"),
        (as_scorer(Head(without_gradient)), "score of head has lost the gradient"),
        (as_scorer(Head(lambda pixels: pixels.detach().mean((2, 3)))), "score of head has lost the gradient"),
        (as_scorer(lambda *_: torch.ones(3, requires_grad=True), name="leaf"), "score of leaf has lost the gradient"),
        (
            as_scorer(raises),
            r"raises on pixels of shape \(3, 3, 5, 4\) \(given in Python\) failed: KeyError: 'a key'",
        ),
        (as_scorer(lambda pixels, prompts: [1.0], name="few"), r"score of few has shape \(1,\) .* must be \(3,\)"),
        (as_scorer(lambda pixels, prompts: "good", name="text"), r"score of text is 'good': it must be one number"),
    ],
)
def test_an_answer_that_is_no_score_is_one_sentence_that_names_it(scorer, sentence):
    with pytest.raises(FergiRewardError, match=sentence):
        scorer(PIXELS.clone().requires_grad_(), "a cat")


@pytest.mark.parametrize(
    "path",
    [
        lambda pixels: pixels.mean((2, 3)),
        partial(in_a_checkpoint, use_reentrant=True),
        partial(in_a_checkpoint, use_reentrant=False),
        written_into,
    ],
)
def test_a_head_with_weights_that_train_is_asked_where_its_features_have_the_gradient(path):
    pixels = PIXELS.clone().requires_grad_()
    as_scorer(Head(path))(pixels, "").sum().backward()
    assert pixels.grad is not None and pixels.grad.abs().min() > 0


def test_where_the_pixels_need_no_gradient_a_head_may_cut_it_off():
    cut = as_scorer(Head(without_gradient))
    assert cut(PIXELS, "").requires_grad
    with torch.no_grad():
        assert cut(PIXELS.clone().requires_grad_(), "").shape == (3,)


def test_without_a_gradient_it_is_asked_without_one():
    scorer = as_scorer(lambda pixels, prompts: pixels.numpy().mean((1, 2, 3)), name="numpy", is_differentiable=False)
    assert scorer(PIXELS.clone().requires_grad_(), "").tolist() == pytest.approx(MEANS.tolist())


@pytest.mark.parametrize("name", ["", "a b", "a,b", "a=b", "au4", "image", "reward", None])
def test_a_name_that_tables_cannot_hold_is_refused(name):
    with pytest.raises(FergiRewardError, match=r"has no name|is called"):
        as_scorer(lambda pixels, prompts: pixels, name=name)


@pytest.mark.parametrize("thing", [None, 3, "pickscore", Imscore])
def test_what_cannot_be_asked_is_refused(thing):
    with pytest.raises(FergiRewardError, match="must be an object that is called"):
        as_scorer(thing, name="thing")


def test_a_module_is_put_in_evaluation_mode():
    dropout = nn.Dropout()
    as_scorer(dropout, name="dropped")
    assert not dropout.training


def test_what_it_writes_into_is_its_own():
    kept = torch.zeros(1)

    def writes(pixels, prompts):
        kept[0] = pixels.mean()
        pixels.numpy()[:] = 0
        return kept

    pictures = [Image.new("RGB", (size, 4), (51 * size,) * 3) for size in (1, 2)]
    assert as_scorer(writes).score(pictures, "").tolist() == pytest.approx([0.2, 0.4])
    pixels = PIXELS[:1].clone()
    assert as_scorer(writes)(pixels, "").item() == pytest.approx(MEANS[0].item())
    assert torch.equal(pixels, PIXELS[:1])


class Unsure:
    """Brightness, of which bright pictures are less sure."""

    name = "unsure"

    def __init__(self, sign=1.0, **says):
        self.sign = sign
        self.__dict__ |= says

    def __call__(self, pixels, prompts):
        return pixels.mean(dim=(1, 2, 3))

    def with_sigma(self, pixels, prompts):
        score = self(pixels, prompts)
        return score, self.sign * score / 2


def test_a_sigma_is_said_of_pixels_and_pictures_and_keeps_its_sign():
    for higher, sign in ((True, 1), (False, -1)):
        scorer = as_scorer(Unsure(higher_is_better=higher))
        assert isinstance(scorer, sigma.Unsure) and sigma.says_sigma(scorer)
        pixels = PIXELS.clone().requires_grad_()
        score, spread = scorer.with_sigma(pixels, "a")
        assert torch.equal(score, sign * MEANS) and torch.equal(spread, MEANS / 2)
        assert spread.requires_grad
        pictures = [Image.new("RGB", size, (51, 51, 51)) for size in ((2, 3), (4, 5), (2, 3))]
        score, spread = scorer.score_with_sigma(pictures, "a", batch_size=2)
        assert score.tolist() == pytest.approx([sign * 0.2] * 3) and spread.tolist() == pytest.approx([0.1] * 3)
    assert not sigma.says_sigma(as_scorer(brightness))


def test_a_sigma_counts_in_the_penalty_and_one_below_0_is_refused():
    moments = {"unsure": (0.5, 0.2)}
    reward = CombinedReward({"unsure": (Unsure(), 1.0)}, standardise=moments, uncertainty_penalty=2.0)
    expected = (MEANS - 0.5) / 0.2 - 2 * MEANS / 2 / 0.2
    assert torch.allclose(reward(PIXELS, "a").total, expected, atol=1e-5)
    with pytest.raises(FergiRewardError, match=r"a sigma of unsure is -0\.\d+, must be at least 0"):
        as_scorer(Unsure(-1.0)).with_sigma(PIXELS, "a")
    with pytest.raises(FergiRewardError, match=r"the sigma of unsure has shape \(\) .* must be \(3,\)"):
        as_scorer(Unsure(with_sigma=lambda pixels, prompts: (MEANS, 0.5))).with_sigma(PIXELS, "a")


def test_a_tower_that_cuts_the_gradient_off_is_refused(monkeypatch):
    clip = tiny.clip().requires_grad_(True)
    pixels = torch.rand(2, 3, 16, 16, requires_grad=True)
    clip(pixels, "a cat").sum().backward()
    assert pixels.grad is not None and pixels.grad.abs().sum() > 0
    transform = clip.transform
    monkeypatch.setattr(clip, "transform", lambda given: transform(given.detach()))
    with pytest.raises(FergiRewardError, match="score of clip has lost the gradient of the pixels"):
        clip(pixels, "a cat")
