import torch

from fergi_reward.trainers import optimisation


def test_gradients_are_exchanged_in_pieces_of_bounded_size(monkeypatch):
    monkeypatch.setattr(optimisation, "BUCKET", 10)
    gradients = [torch.zeros(size) for size in (4, 6, 1, 25, 10, 3)]
    buckets = [[gradient.numel() for gradient in bucket] for bucket in optimisation._buckets(gradients)]
    # In order, none over 10 but the one that is larger by itself.
    assert buckets == [[4, 6], [1], [25], [10], [3]]
