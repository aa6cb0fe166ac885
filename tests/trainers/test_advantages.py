import pytest
import torch

from fergi_reward.trainers.advantages import PerPromptStatTracker, group_advantages, optimality


def test_each_prompt_is_judged_by_its_own_rewards():
    tracker = PerPromptStatTracker(buffer_size=8, min_count=2)
    # cat: mean 2, population std 1. dog: mean 20, std 10.
    advantages = tracker.update(["cat", "dog", "cat", "dog"], torch.tensor([1.0, 10.0, 3.0, 30.0]))
    assert advantages.tolist() == pytest.approx([-1, -1, 1, 1], abs=1e-5)


def test_a_prompt_seen_too_seldom_is_judged_by_the_whole_batch():
    tracker = PerPromptStatTracker(buffer_size=8, min_count=2)
    # The batch: mean 4, population std sqrt(14).
    advantages = tracker.update(["cat", "cat", "dog"], torch.tensor([1.0, 2.0, 9.0]))
    assert advantages.tolist() == pytest.approx([-1, 1, 5 / (38 / 3) ** 0.5], abs=1e-5)


def test_the_buffer_forgets_the_oldest():
    tracker = PerPromptStatTracker(buffer_size=2, min_count=1)
    tracker.update(["cat"] * 3, torch.tensor([100.0, 1.0, 3.0]))
    assert tracker.state_dict() == {"cat": [1.0, 3.0]}
    # Now 3 and 5 are remembered: mean 4, std 1.
    assert tracker.update(["cat"], torch.tensor([5.0])).item() == pytest.approx(1, abs=1e-5)


def test_equal_rewards_have_no_advantage():
    tracker = PerPromptStatTracker(buffer_size=4, min_count=1)
    assert tracker.update(["cat"] * 3, torch.full((3,), 0.1)).tolist() == pytest.approx([0, 0, 0], abs=1e-2)


def test_a_restored_tracker_continues_as_the_old_one():
    old, new = (PerPromptStatTracker(buffer_size=3, min_count=2) for _ in range(2))
    old.update(["cat", "dog", "cat"], torch.tensor([1.0, 5.0, 2.0]))
    new.load_state_dict(old.state_dict())
    later = (["dog", "cat"], torch.tensor([4.0, 7.0]))
    assert torch.equal(old.update(*later), new.update(*later))


def test_a_group_is_judged_by_itself_wherever_its_members_stand():
    # cat: mean 2, std 1. dog: mean 20, std 10. The rat is alone.
    advantages = group_advantages(["cat", "dog", "rat", "cat", "dog"], torch.tensor([1.0, 10.0, 7.0, 3.0, 30.0]))
    assert advantages.tolist() == pytest.approx([-1, -1, 0, 1, 1], abs=1e-5)


def test_optimality_stays_between_the_worst_and_the_best():
    assert optimality(torch.tensor([-7.0, -1.0, 0.0, 1.0, 7.0]), 2.0).tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_a_global_deviation_is_that_of_all_images_by_hand():
    # Groups (0, 2) and (10, 10) have the means 1 and 10. All four: mean 5.5, squares 30.25, 20.25, 12.25, 20.25.
    rewards = torch.tensor([0.0, 10.0, 2.0, 10.0])
    deviation = (83 / 4) ** 0.5
    found = group_advantages(["a", "b", "a", "b"], rewards, spread="all")
    assert found.tolist() == pytest.approx([-1 / deviation, 0, 1 / deviation, 0], abs=1e-5)
    assert group_advantages(["a", "b"] * 2, torch.full((4,), 3.0), spread="all").tolist() == [0, 0, 0, 0]
