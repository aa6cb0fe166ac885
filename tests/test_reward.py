import math
from itertools import product

import pytest
import torch
from PIL import Image

from fergi_reward.calibration.calibration import Calibration, Fit, Term
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.fergi import ACTION_UNITS
from fergi_reward.faces.recorded import Recorded
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.pickscore import PickScorer
from fergi_reward.scorers.scorer_set import ParkedScorer
from fergi_reward.toy import emoji, tiny

WITHOUT = Fit("pickscore", (Term("pickscore", 1.0, 2.0, 0.5),))
WITH = Fit("pickscore+au4", (Term("pickscore", 3.0, 4.0, 0.6), Term("au4", -0.2, 0.1, 0.3, 0.4)))
PROMPTS = ["a cat", "a dog", "a cat"]


@pytest.fixture(scope="module")
def scorer():
    return tiny.pickscore(seed=0)


@pytest.fixture(scope="module")
def pixels():
    return torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(0))


def calibration(*fits, source="test"):
    return Calibration("test", source, fits or (WITHOUT, WITH), {}, "0", "", 0)


def recorded(source="test", **activations):
    return Recorded({image: {"au4": activation} for image, activation in activations.items()}, source)


def test_without_reactions_the_total_is_the_weighted_standardised_score(scorer, pixels):
    output = CombinedReward([scorer], calibration())(pixels, PROMPTS)
    raw = scorer(pixels, PROMPTS)
    torch.testing.assert_close(output.terms["pickscore"], raw)
    torch.testing.assert_close(output.total, 0.5 * (raw - 1.0) / 2.0)
    assert output.missing == {}


def test_an_image_without_a_reaction_takes_the_weights_fitted_without_it(scorer, pixels):
    reward = CombinedReward([scorer], calibration(), face=recorded(one=1.0, two=0.0))
    output = reward(pixels, PROMPTS, image_ids=["one", "unknown", "two"])
    raw = scorer(pixels, PROMPTS)
    valence = torch.tensor([-0.3296799540, 0.0, 0.0])
    assert output.terms["au4"].isnan().tolist() == [False, True, False]  # 0 would be the valence of a still face
    torch.testing.assert_close(output.terms["au4"][::2], valence[::2])
    expected = 0.6 * (raw - 3.0) / 4.0 + 0.3 * (valence + 0.2) / 0.1
    expected[1] = 0.5 * (raw[1] - 1.0) / 2.0
    torch.testing.assert_close(output.total, expected)
    assert output.missing["au4"].tolist() == [False, True, False]
    assert output.contributions["au4"][1] == 0
    torch.testing.assert_close(sum(output.contributions.values()), output.total)
    assert output.log("r")["r/au4_missing"] == pytest.approx(1 / 3)


BOTH = Fit("pickscore+2", (*WITH.terms, Term("au12", -0.1, 0.2, -0.7, 0.4), Term("au4", -0.3, 0.4, 0.5, 1.6)))


def test_every_action_unit_that_is_weighed_and_recorded_counts_under_its_own_name(scorer, pixels):
    reactions = {"one": {"au4": 1.0, "au12": 0.5}, "two": {"au4": 0.2}, "three": {"au12": 2.0, "au4": 0.0}}
    reactions["four"] = {"au12": 1.0}
    reward = CombinedReward([scorer], calibration(WITHOUT, BOTH, WITH), face=Recorded(reactions, "test"))
    pixels, prompts = torch.cat([pixels, pixels[:1]]), [*PROMPTS, PROMPTS[0]]
    output = reward(pixels, prompts, image_ids=list(reactions))
    raw = scorer(pixels, prompts)

    def valence(activation, decay):
        return torch.exp(-decay * torch.tensor(activation)) - 1

    activations = [1.0, 0.2, 0.0, 0.0]
    au4 = 0.3 * (valence(activations, 0.4) + 0.2) / 0.1 + 0.5 * (valence(activations, 1.6) + 0.3) / 0.4
    au12 = -0.7 * (valence([0.5, 0.0, 2.0, 1.0], 0.4) + 0.1) / 0.2
    by_au4 = [0.0, 0.3 * (math.exp(-0.08) - 1 + 0.2) / 0.1, 0.0, 0.0]
    known = torch.tensor([True, False, True, False])
    # The second image lacks AU12: it takes the weights fitted with AU4 alone. The last one has no AU4: no face counts.
    torch.testing.assert_close(output.contributions["au4"], torch.where(known, au4, torch.tensor(by_au4)))
    torch.testing.assert_close(output.contributions["au12"], au12.where(known, 0.0))
    total = 0.6 * (raw - 3.0) / 4.0 + output.contributions["au4"] + output.contributions["au12"]
    total[3] = 0.5 * (raw[3] - 1.0) / 2.0
    torch.testing.assert_close(output.total, total)
    torch.testing.assert_close(sum(output.contributions.values()), output.total)
    assert output.terms["au12"].isnan().tolist() == output.missing["au12"].tolist() == [False, True, False, True]
    assert output.missing["au4"].tolist() == [False, False, False, True]
    torch.testing.assert_close(output.terms["au4"][:3], valence([1.0, 0.2, 0.0], 0.4))  # at the smallest decay
    alone = reward(pixels[1:2], PROMPTS[1:2], image_ids=["two"])
    torch.testing.assert_close(alone.total[0], output.total[1])
    assert set(reward.describe()["terms"]) == {"pickscore", "au4 (decay 0.4)", "au4 (decay 1.6)", "au12"}


def test_units_that_are_weighed_and_not_recorded_are_left_out(scorer):
    twice = Fit("pickscore+au4", (*WITH.terms, Term("au4", -0.2, 0.1, 0.3, 1.6)))
    for au4_alone in (WITH, twice):
        reward = CombinedReward([scorer], calibration(WITHOUT, au4_alone, BOTH), face=recorded(one=1.0))
        assert "au12" not in reward.describe()["terms"]
    with pytest.raises(
        FergiRewardError, match=r"weighs au12 .*, and recorded reactions have au4: calibrate with --aus"
    ):
        CombinedReward([scorer], calibration(WITHOUT, BOTH), face=recorded(one=1.0))
    with pytest.raises(FergiRewardError, match=r"weighs au4 .*, and recorded reactions have au12"):
        CombinedReward([scorer], calibration(), face=Recorded({"one": {"au12": 1.0}}, "test"))


def test_the_mean_of_a_term_is_over_the_images_that_have_it(scorer, pixels):
    reward = CombinedReward([scorer], calibration(), face=recorded(one=1.0))
    logged = reward(pixels, PROMPTS, image_ids=["one", "?", "?"]).log()
    assert logged["reward/au4"] == pytest.approx(-0.3296799540) and logged["reward/au4_missing"] == pytest.approx(2 / 3)
    assert "reward/au4" not in reward(pixels, PROMPTS, image_ids=["?"] * 3).log()


def test_gradients_reach_the_pixels_and_score_has_none(scorer, pixels):
    reward = CombinedReward([scorer], calibration())
    leaf = pixels.clone().requires_grad_()
    reward(leaf, PROMPTS).total.sum().backward()
    raw = pixels.clone().requires_grad_()
    scorer(raw, PROMPTS).sum().backward()
    torch.testing.assert_close(leaf.grad, raw.grad * 0.5 / 2.0)
    scored = reward.score(pixels, PROMPTS)
    assert not scored.total.requires_grad
    torch.testing.assert_close(scored.total, reward(pixels, PROMPTS).total.detach())


def test_paths_are_their_own_ids(scorer, reference):
    path = str(reference / "images" / "05_l_small_128x96.png")
    reward = CombinedReward([scorer], calibration(), face=recorded(**{path: 1.0}))
    assert reward.score([path], "a cat").missing["au4"].tolist() == [False]


def test_named_scorers_are_loaded_at_first_use_from_their_checkpoint(tmp_path):
    reward = CombinedReward.from_pretrained(scorers=["pickscore"], checkpoints={"pickscore": tmp_path / "nowhere"})
    with pytest.raises(FergiRewardError, match="nowhere"):
        reward.score(torch.rand(1, 3, 8, 8), "a cat")


def test_the_shipped_calibration_serves_every_set_of_scorers():
    faces = (["au4"], ["au4", "au12"], ACTION_UNITS)
    for names, known in product((["pickscore"], ["pickscore", "hps_v2"], ["hps_v2.0"]), faces):
        face = Recorded({"one": dict.fromkeys(known, 0.5)}, "fergi-ir50")
        reward = CombinedReward.from_pretrained(scorers=names, face=face)
        units = {label.split()[0] for label in reward.describe()["terms"]} - set(reward.names)
        assert units == set(known)
    with pytest.raises(FergiRewardError, match=r"no weights for the terms hps_v2\.1"):
        CombinedReward.from_pretrained(scorers=["hps_v2.1"])


def test_a_score_that_is_not_finite_is_named(pixels):
    scorer = tiny.pickscore(seed=0)
    scorer.register_forward_hook(lambda module, inputs, scores: scores / torch.tensor([1.0, 0.0, 1.0]) * 0.0)
    with pytest.raises(FergiRewardError, match=r"pickscore gave nan for image 1, prompt 'a dog'"):
        CombinedReward([scorer], calibration())(pixels, PROMPTS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"face": recorded("pyfeat-v2")},
            "fitted on AU source 'test', got recorded reactions from 'pyfeat-v2'.*map-source",
        ),
        ({"checkpoints": {"hps_v2": "x"}}, "checkpoints are given for hps_v2"),
    ],
)
def test_contradictory_options(scorer, options, message):
    with pytest.raises(FergiRewardError, match=message):
        CombinedReward([scorer], calibration(), **options)


def test_a_calibration_without_the_reaction_is_refused_for_reactions(scorer):
    with pytest.raises(FergiRewardError, match="no weights for the terms pickscore, au4"):
        CombinedReward([scorer], calibration(WITHOUT), face=recorded())


def test_recorded_reactions_need_one_id_per_image(scorer, pixels):
    reward = CombinedReward([scorer], calibration(), face=recorded())
    with pytest.raises(FergiRewardError, match="give 3 of them, got none"):
        reward(pixels, PROMPTS)
    with pytest.raises(FergiRewardError, match="give 3 of them, got 2"):
        reward(pixels, PROMPTS, image_ids=["a", "b"])


class Travelling(PickScorer):
    """Notes where it is when it scores."""

    def encode_images(self, *args, **kwargs):
        self.journey.append(self.device.type)
        return super().encode_images(*args, **kwargs)


@pytest.fixture
def travelling(card):
    scorer = tiny.pickscore(seed=0).requires_grad_(False)
    scorer.__class__, scorer.journey = Travelling, []
    return scorer.to("cuda")


def home_of(scorer):
    """Where the weights lie."""
    return [tensor.data_ptr() for tensor in scorer.parameters() if tensor.device.type == "cpu"]


def test_parked_scorers_are_on_the_device_only_while_they_score(travelling, pixels):
    reward = CombinedReward([travelling], calibration(), device="cuda", offload=True)
    home = home_of(travelling)
    reward(pixels, PROMPTS)
    assert travelling.journey == ["cuda"]
    assert home == home_of(travelling) and len(home) == len(list(travelling.parameters()))
    with pytest.raises(FergiRewardError, match="offload=False"):
        reward(pixels.clone().requires_grad_(), PROMPTS)


def test_a_parked_judge_is_on_the_device_only_while_it_scores_even_if_it_breaks(travelling, pixels):
    expected = tiny.pickscore(seed=0)(pixels, PROMPTS)
    judge = ParkedScorer(travelling, torch.device("cuda"))
    home = home_of(travelling)
    torch.testing.assert_close(judge(pixels, PROMPTS).cpu(), expected.detach())
    with pytest.raises(FergiRewardError):
        judge(pixels, PROMPTS[:1])
    assert home == home_of(travelling) and len(home) == len(list(travelling.parameters()))
    assert travelling.journey == ["cuda"]


def test_each_picture_is_decoded_once_for_all_scorers(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (40, 40), "red").save(path)
    opened = []
    first, second = tiny.pickscore(seed=0), tiny.hps(seed=0)
    for scorer in (first, second):
        preprocess = scorer.preprocess
        scorer.preprocess = lambda picture, inner=preprocess: opened.append(id(picture)) or inner(picture)
    reward = CombinedReward.from_pretrained(scorers=[first, second])
    reward.score([path, str(path), path], "a cat")
    assert len(opened) == 2  # one per scorer
    assert len(set(opened)) == 1  # of the same decoded picture


@pytest.mark.parametrize("activation", [-0.1, float("nan"), float("inf")])
def test_an_activation_is_finite_and_not_negative(activation):
    with pytest.raises(FergiRewardError, match="image a has the AU4 activation"):
        recorded(a=activation)


@pytest.mark.parametrize("reaction", [0.8, {"pickscore": 0.8}, None])
def test_activations_are_by_action_unit(reaction):
    with pytest.raises(FergiRewardError, match=r"image a has the reaction .*: give activations by action unit"):
        Recorded({"a": reaction}, "test")


def test_the_old_arguments_mean_the_face_that_replaces_them(scorer, pixels):
    with pytest.warns(DeprecationWarning, match="called Recorded"):
        from fergi_reward import RecordedReactions
    with pytest.warns(DeprecationWarning, match=r"reaction, recorded: give face=Recorded\(\.\.\.\)"):
        old = CombinedReward(
            [scorer], calibration(), reaction="recorded", recorded=RecordedReactions({"a": 1.0}, "test")
        )
    new = CombinedReward([scorer], calibration(), face=recorded(a=1.0))
    one, other = (reward(pixels, PROMPTS, image_ids=["a", "b", "a"]).total for reward in (old, new))
    assert one.equal(other)
    for wrong in ({"reaction": "recorded"}, {"recorded": recorded()}, {"reaction": "guessed"}):
        with pytest.warns(DeprecationWarning), pytest.raises(FergiRewardError, match=r"reaction is '.*' with"):
            CombinedReward([scorer], calibration(), **wrong)
    with pytest.raises(TypeError, match="no argument reactoin"):
        CombinedReward([scorer], calibration(), reactoin="none")


def test_the_uncertainty_penalty_is_the_spread_of_the_standardised_scores(scorer, pixels):
    both = Fit("both", (Term("pickscore", 1.0, 2.0, 0.5), Term("hps_v2", 0.2, 0.1, 0.4)))
    scorers = [scorer, tiny.hps(seed=0)]
    plain = CombinedReward(scorers, calibration(both))(pixels, PROMPTS)
    leaf = pixels.clone().requires_grad_()
    guarded = CombinedReward(scorers, calibration(both), uncertainty_penalty=1.5)(leaf, PROMPTS)
    # The population standard deviation of two numbers is half their distance.
    first, second = (plain.terms["pickscore"] - 1.0) / 2.0, (plain.terms["hps_v2"] - 0.2) / 0.1
    torch.testing.assert_close(guarded.terms["disagreement"], (first - second).abs() / 2)
    torch.testing.assert_close(guarded.total, plain.total - 1.5 * (first - second).abs() / 2)
    torch.testing.assert_close(sum(guarded.contributions.values()), guarded.total)
    guarded.total.sum().backward()
    assert leaf.grad.abs().sum() > 0


def test_scorers_that_agree_to_the_bit_have_a_finite_gradient(scorer):
    same = Fit("both", (Term("pickscore", 0.0, 1.0, 0.5), Term("hps_v2", 0.0, 1.0, 0.5)))
    reward = CombinedReward([scorer, tiny.hps()], calibration(same), uncertainty_penalty=1.0)
    scores = torch.ones(3, requires_grad=True)
    reward.combine({"pickscore": scores, "hps_v2": scores}, PROMPTS).total.sum().backward()
    assert scores.grad.tolist() == pytest.approx([1, 1, 1])


@pytest.mark.parametrize(("penalty", "message"), [(1.0, "one scorer alone"), (-1.0, "must be at least 0")])
def test_penalties_that_cannot_be(scorer, penalty, message):
    with pytest.raises(FergiRewardError, match=message):
        CombinedReward([scorer], calibration(), uncertainty_penalty=penalty)


def test_fingerprints_tell_rewards_apart_that_describe_alike():
    weights = Calibration.load(emoji.CALIBRATION)
    names = weights.scorers
    make = {"image_reward": tiny.image_reward, "pickscore": tiny.pickscore, "hps_v2": tiny.hps}
    one, two = (CombinedReward([make[name](seed=seed) for name in names], weights) for seed in (0, 1))
    assert one.describe() == two.describe()
    assert one.fingerprints().keys() == {*names, "calibration"}
    assert all(one.fingerprints()[name] != two.fingerprints()[name] for name in names)
    assert one.fingerprints()["calibration"] == two.fingerprints()["calibration"] == weights.fingerprint()
