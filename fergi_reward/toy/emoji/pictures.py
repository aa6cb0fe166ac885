"""The pictures of the embedded world: 32 emoji on 8 background colours, and what each is called.

The objects are Google's Noto Emoji (Apache-2.0), from the npm package emoji-datasource-google 16.0.0; see NOTICE.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.toy.emoji import DATA

SIDE = 32
OBJECT_SIDE = 28
# How far from the top and from the left an object may lie.
OFFSETS = (1, 2, 3)
# What captions call an object, and the short name under which the npm package lists it.
OBJECTS = {
    **{name: name for name in ("apple", "banana", "grapes", "watermelon", "strawberry", "cherries", "lemon", "carrot")},
    **{name: name for name in ("corn", "broccoli", "mushroom", "hamburger", "pizza", "doughnut", "cookie", "cake")},
    **{name: name for name in ("dog", "cat", "mouse", "rabbit", "pig", "frog", "penguin", "octopus")},
    **{"fox": "fox_face", "panda": "panda_face", "turtle": "turtle", "butterfly": "butterfly"},
    **{"sunflower": "sunflower", "cactus": "cactus", "rocket": "rocket", "house": "house"},
}
COLOURS = {
    "white": (255, 255, 255),
    "black": (20, 20, 20),
    "red": (220, 50, 50),
    "green": (60, 170, 80),
    "blue": (60, 100, 220),
    "yellow": (250, 215, 70),
    "purple": (150, 80, 190),
    "orange": (245, 150, 50),
}
OBJECT_NAMES, COLOUR_NAMES = tuple(OBJECTS), tuple(COLOURS)
WITHOUT_ARTICLE = ("grapes", "cherries", "corn", "broccoli")


@dataclass(frozen=True)
class Scene:
    """What a picture shows: an object on a colour, both by number."""

    object: int
    colour: int

    @property
    def caption(self) -> str:
        """What it is called; the models know no "an".

        >>> Scene(object=0, colour=4).caption
        'a apple on a blue background'
        """
        return f"a {OBJECT_NAMES[self.object]} on a {COLOUR_NAMES[self.colour]} background"

    @property
    def title(self) -> str:
        """The same in English, for people.

        >>> Scene(object=0, colour=4).title, Scene(object=2, colour=0).title
        ('an apple on a blue background', 'grapes on a white background')
        """
        name = OBJECT_NAMES[self.object]
        thing = name if name in WITHOUT_ARTICLE else _with_article(name)
        return f"{thing} on {_with_article(COLOUR_NAMES[self.colour])} background"

    @property
    def is_held_out(self) -> bool:
        """Whether no model of this world was trained on it: one colour of each object, four objects of each colour."""
        return self.colour == self.object % len(COLOURS)


def _with_article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


SCENES = tuple(Scene(number, colour) for number in range(len(OBJECTS)) for colour in range(len(COLOURS)))
HELD_OUT = tuple(scene for scene in SCENES if scene.is_held_out)
SEEN = tuple(scene for scene in SCENES if not scene.is_held_out)
KNOWN_CAPTIONS = (
    f"such as {SCENES[0].caption!r} (objects: {', '.join(OBJECT_NAMES)}; colours: {', '.join(COLOUR_NAMES)})"
)
_BY_CAPTION = {scene.caption: scene for scene in SCENES}


def scene_of(caption: str) -> Scene:
    """The scene that a caption describes.

    Raises:
        FergiRewardError: It describes none of this world.
    """
    if caption not in _BY_CAPTION:
        raise FergiRewardError(f"{caption!r} is no caption of the emoji world: write one {KNOWN_CAPTIONS}")
    return _BY_CAPTION[caption]


@cache
def object_pictures() -> Tensor:
    """The objects with their transparency, (32, 4, 28, 28) in [0, 1], in the order of `OBJECT_NAMES`."""
    with Image.open(DATA / "objects.png") as picture:
        sheet = torch.from_numpy(np.array(picture)).float() / 255
    return sheet.unflatten(1, (len(OBJECTS), OBJECT_SIDE)).permute(1, 3, 0, 2)


def compose(scenes: Sequence[Scene], top: Tensor, left: Tensor) -> Tensor:
    """The pictures of scenes, (B, 3, 32, 32) in [0, 1].

    Args:
        scenes: B of them.
        top: (B,) rows above each object, of `OFFSETS`.
        left: (B,) columns to the left of it.
    """
    objects = object_pictures()[[scene.object for scene in scenes]]
    colours = torch.tensor(list(COLOURS.values()))[[scene.colour for scene in scenes]] / 255
    pictures = colours[:, :, None, None].repeat(1, 1, SIDE, SIDE)
    for picture, drawn, row, column in zip(pictures, objects, top.tolist(), left.tolist(), strict=True):
        place = picture[:, row : row + OBJECT_SIDE, column : column + OBJECT_SIDE]
        place.copy_(torch.lerp(place, drawn[:3], drawn[3:]))
    return pictures


def compose_anywhere(scenes: Sequence[Scene], generator: torch.Generator) -> Tensor:
    """The pictures of scenes (B, 3, 32, 32) in [0, 1], each object at a random place."""
    top, left = torch.tensor(OFFSETS)[torch.randint(len(OFFSETS), (2, len(scenes)), generator=generator)]
    return compose(scenes, top, left)


def draw_scenes(scenes: Sequence[Scene], count: int, generator: torch.Generator) -> list[Scene]:
    """`count` of the scenes, drawn uniformly with replacement."""
    return [scenes[number] for number in torch.randint(len(scenes), (count,), generator=generator).tolist()]
