from collections import Counter

import pytest
import torch

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.toy.emoji.pictures import (
    COLOURS,
    HELD_OUT,
    OBJECTS,
    SCENES,
    SEEN,
    Scene,
    compose,
    compose_anywhere,
    draw_scenes,
    object_pictures,
    scene_of,
)


def test_a_caption_says_what_its_scene_is() -> None:
    assert len({scene.caption for scene in SCENES}) == len(SCENES) == 256
    assert all(scene_of(scene.caption) == scene for scene in SCENES)
    assert scene_of("a fox on a purple background").caption == "a fox on a purple background"


@pytest.mark.parametrize("caption", ["a cat", "", "A cat on a red background", "a unicorn on a red background"])
def test_other_captions_are_refused_with_an_example(caption: str) -> None:
    with pytest.raises(FergiRewardError, match="a apple on a white background"):
        scene_of(caption)


def test_one_colour_of_each_object_is_held_out_and_four_objects_of_each_colour() -> None:
    assert not set(HELD_OUT) & set(SEEN)
    assert set(HELD_OUT) | set(SEEN) == set(SCENES)
    assert sorted(scene.object for scene in HELD_OUT) == list(range(len(OBJECTS)))
    assert set(Counter(scene.colour for scene in HELD_OUT).values()) == {4}


def test_no_two_objects_look_alike() -> None:
    flat = object_pictures().flatten(1)
    distances = torch.cdist(flat, flat).fill_diagonal_(torch.inf)
    assert distances.min() > 5


def test_a_picture_blends_the_object_over_the_colour() -> None:
    scene = scene_of("a cat on a blue background")
    picture = compose([scene], torch.tensor([2]), torch.tensor([3]))[0]
    blue = torch.tensor(COLOURS["blue"]) / 255
    for corner in (picture[:, 0, 0], picture[:, -1, 0], picture[:, 0, -1]):
        torch.testing.assert_close(corner, blue)
    red_green_blue, alpha = object_pictures()[scene.object].split([3, 1])
    row, column = 7, 4
    mixed = alpha[0, row, column] * red_green_blue[:, row, column] + (1 - alpha[0, row, column]) * blue
    torch.testing.assert_close(picture[:, row + 2, column + 3], mixed)


def test_the_object_moves_with_its_place() -> None:
    scenes = [Scene(object=3, colour=6)] * 2
    first, second = compose(scenes, torch.tensor([1, 3]), torch.tensor([1, 2]))
    torch.testing.assert_close(first.roll((2, 1), dims=(1, 2)), second)


def test_a_seed_decides_what_is_drawn() -> None:
    first, again = (draw_scenes(SEEN, 50, torch.Generator().manual_seed(4)) for _ in range(2))
    assert first == again
    assert len(set(first)) > 30
    pictures, same = (compose_anywhere(first, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(pictures, same)
    assert pictures.shape == (50, 3, 32, 32)
    assert pictures.min() >= 0 and pictures.max() <= 1
