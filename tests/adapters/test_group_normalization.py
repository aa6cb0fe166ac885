import pytest
import torch

from fergi_reward.adapters.group_normalization import group_normalized
from fergi_reward.core.errors import FergiRewardError

PROMPTS = ["cat", "cat", "dog", "dog"]
A, B = torch.tensor([1.0, 3.0, 0.0, 0.0]), torch.tensor([10.0, 10.0, 5.0, 1.0])


def test_by_hand():
    # Cats: a is -1 and 1, b does not differ; dogs: a does not differ, b is 1 and -1. The sums with weights 1
    # and 2 are -1, 1, 2, -2: mean 0, population deviation sqrt(2.5).
    expected = torch.tensor([-1.0, 1.0, 2.0, -2.0]) / 2.5**0.5
    advantages = group_normalized({"a": A, "b": B, "unused": A}, PROMPTS, {"a": 1.0, "b": 2.0})
    torch.testing.assert_close(advantages, expected, atol=1e-5, rtol=0)


def test_a_terms_scale_and_offset_mean_nothing():
    advantages = group_normalized({"a": A, "b": B}, PROMPTS, {"a": 1.0, "b": 2.0})
    scaled = group_normalized({"a": 0.01 * A + 7, "b": 100 * B - 3}, PROMPTS, {"a": 1.0, "b": 2.0})
    torch.testing.assert_close(scaled, advantages, atol=1e-3, rtol=0)


def test_the_order_of_images_means_nothing():
    order = [2, 0, 3, 1]
    weights = {"a": 1.0, "b": 2.0}
    permuted = group_normalized({"a": A[order], "b": B[order]}, [PROMPTS[row] for row in order], weights)
    torch.testing.assert_close(permuted, group_normalized({"a": A, "b": B}, PROMPTS, weights)[order])


def test_from_a_total_rewards_that_differ_would_be_the_same():
    """Two rewards of two values each: (0, 1) and (0, 2) after GRPO's normalisation of their sums are both -1, 1."""
    terms = {"a": torch.tensor([0.0, 1.0, 0.0, 1.0]), "b": torch.tensor([0.0, 0.0, 0.0, 1.0])}
    advantages = group_normalized(terms, PROMPTS, {"a": 1.0, "b": 1.0})
    assert advantages[3] == pytest.approx(2 * advantages[1].item(), abs=1e-4)


@pytest.mark.parametrize(("term", "groups"), [(A, range(4)), (torch.full((4,), 0.1), PROMPTS)])
def test_where_no_group_differs_nothing_is_learned(term, groups):
    advantages = group_normalized({"a": term}, list(groups), {"a": 1.0})
    torch.testing.assert_close(advantages, torch.zeros(4), atol=1e-3, rtol=0)


def test_an_image_that_lacks_a_term_is_judged_by_the_others():
    # Without its second image, whose 0 stands for nothing, a group of cats has no a to compare.
    terms = {"a": torch.tensor([-0.5, 0.0, -0.2, -0.4]), "b": torch.tensor([1.0, 2.0, 3.0, 3.0])}
    missing = {"a": torch.tensor([False, True, False, False])}
    advantages = group_normalized(terms, PROMPTS, {"a": 1.0, "b": 1.0}, missing)
    torch.testing.assert_close(advantages, torch.tensor([-1.0, 1.0, 1.0, -1.0]), atol=1e-4, rtol=0)


def test_mistakes():
    with pytest.raises(FergiRewardError, match="weights for au4, and terms a"):
        group_normalized({"a": A}, PROMPTS, {"au4": 1.0})
    with pytest.raises(FergiRewardError, match="weights for nothing"):
        group_normalized({"a": A}, PROMPTS, {})
    with pytest.raises(FergiRewardError, match=r"term a has shape \(4,\) and its mask \(3,\) for 3 groups"):
        group_normalized({"a": A}, PROMPTS[:3], {"a": 1.0})
    with pytest.raises(FergiRewardError, match="term a is not finite: name the images"):
        group_normalized({"a": A / 0}, PROMPTS, {"a": 1.0})
