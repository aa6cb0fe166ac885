import torch

from fergi_reward.trainers.shares import draw_prompts


def test_drawing_follows_its_generator_and_reaches_every_prompt():
    prompts = ["a", "b", "c"]
    first, again = (draw_prompts(prompts, 50, torch.Generator().manual_seed(1)) for _ in range(2))
    assert first == again
    assert set(first) == set(prompts)
