import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from fergi_reward.trainers.augmentation import Augmentation
from fergi_reward.trainers.pairs import Pair

DARK_ON_THE_LEFT = Image.fromarray(np.array([[0, 255]], np.uint8).repeat(2, 0))
PAIR = Pair("a cat", DARK_ON_THE_LEFT, DARK_ON_THE_LEFT, None)
NUMBERS = range(400)


def seen(number, **options):
    """The caption, and of the better and the worse picture whether it is mirrored."""
    framed = Augmentation(7, **options).framed(number, PAIR, 2, 2)
    mirrored = [bool(one.pixels[0, 0, 0] > one.pixels[0, 0, 1]) for one in (framed.better, framed.worse)]
    return framed.caption, *mirrored


def is_share(count, share):
    return binomtest(count, len(NUMBERS), share).pvalue > 0.01


def test_nothing_is_changed_unless_it_is_asked_for():
    assert {seen(number) for number in NUMBERS} == {("a cat", False, False)}


def test_captions_are_dropped_at_the_rate_that_is_given():
    captions = [seen(number, caption_dropout=0.2)[0] for number in NUMBERS]
    assert is_share(captions.count(""), 0.2)
    assert set(captions) == {"", "a cat"}
    assert {seen(number, caption_dropout=1.0)[0] for number in NUMBERS} == {""}


def test_both_pictures_of_a_pair_are_mirrored_or_each_by_itself():
    together = [seen(number, random_flip="pair")[1:] for number in NUMBERS]
    assert set(together) == {(False, False), (True, True)}
    assert is_share(together.count((True, True)), 0.5)
    alone = [seen(number, random_flip="picture")[1:] for number in NUMBERS]
    for pair in [(False, False), (False, True), (True, False), (True, True)]:
        assert is_share(alone.count(pair), 0.25)


def test_what_is_drawn_depends_on_the_seed_and_the_number_alone():
    options = {"caption_dropout": 0.5, "random_flip": "picture"}
    forward, backward = ([seen(number, **options) for number in row] for row in (NUMBERS, reversed(NUMBERS)))
    assert forward == backward[::-1]
    dropped = [
        [Augmentation(seed, caption_dropout=0.5).framed(number, PAIR, 2, 2).caption for number in NUMBERS]
        for seed in (7, 8)
    ]
    assert dropped[0] != dropped[1]


@pytest.mark.parametrize(
    "broken", [Pair("a cat", b"", DARK_ON_THE_LEFT, None), Pair("a cat", DARK_ON_THE_LEFT, None, None)]
)
def test_a_damaged_picture_is_none_whatever_is_drawn(broken):
    assert Augmentation(0, random_flip="picture").framed(0, broken, 2, 2) is None
