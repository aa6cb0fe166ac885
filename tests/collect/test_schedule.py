"""Who sees what: random, balanced, and the same again."""

from collections import Counter
from pathlib import Path

import pytest

from fergi_reward.collect.pictures import Picture, Pictures
from fergi_reward.collect.schedule import Person, Schedules

PICTURES = Pictures(
    tuple(
        Picture(f"s{session}", f"i{image}", Path(f"{session}_{image}.png"), "x", "d", "image/png")
        for session in range(6)
        for image in range(3)
    )
)


def person(number):
    return Person(f"p{number}", number, bytes([number]) * 16)


def seen(schedule):
    return [(shown.picture.session, shown.picture.image) for sitting in schedule.sittings for shown in sitting.shown]


def test_everybody_sees_all_in_an_order_of_their_own():
    schedules = Schedules(PICTURES, 0, None, has_pairs=False)
    orders = [seen(schedules.of(person(number))) for number in range(8)]
    assert all(sorted(order) == sorted((p.session, p.image) for p in PICTURES.every) for order in orders)
    assert len(set(map(tuple, orders))) == 8


def test_the_order_follows_from_the_seed_alone():
    one, same, other = (seen(Schedules(PICTURES, seed, None, False).of(person(1))) for seed in (5, 5, 6))
    assert one == same != other
    # As this version has always had it: a study that continues must not change its orders.
    assert [session for session, _ in one[::3]] == ["s3", "s1", "s0", "s4", "s2", "s5"]


@pytest.mark.parametrize("sessions", [1, 2, 3, 4, 5, 6, 9])
def test_each_session_is_seen_equally_often(sessions):
    schedules = Schedules(PICTURES, 0, sessions, has_pairs=False)
    counts = Counter(sitting.name for number in range(12) for sitting in schedules.of(person(number)).sittings)
    assert set(counts.values()) == {12 * min(sessions, 6) // 6}


def test_names_say_nothing_to_another_participant():
    schedules = Schedules(PICTURES, 0, None, has_pairs=True)
    one, other = schedules.of(person(1)), schedules.of(person(2))
    names = [
        {*schedule.by_session, *schedule.by_trial, *schedule.by_image, *schedule.by_pair} for schedule in (one, other)
    ]
    assert len(names[0]) == 6 + 18 + 18 + 18 and not names[0] & names[1]


def test_names_of_pictures_differ_whatever_their_sessions_are_called():
    """A CSV may have line breaks in a cell."""
    names = [("a", "b\nc"), ("a\nb", "c"), ("a", "x"), ("a\nb", "x")]
    pictures = Pictures(tuple(Picture(*name, Path("x"), "x", "d", "image/png") for name in names))
    schedule = Schedules(pictures, 0, None, has_pairs=False).of(person(0))
    assert len(schedule.by_image) == len(schedule.by_trial) == 4


def test_pairs_are_all_pairs_with_sides_by_chance():
    schedules, first = Schedules(PICTURES, 0, None, has_pairs=True), Counter()
    for number in range(40):
        pairs = [pair for sitting in schedules.of(person(number)).sittings for pair in sitting.pairs]
        unordered = {(p.left.picture.session, *sorted((p.left.picture.image, p.right.picture.image))) for p in pairs}
        assert len(unordered) == len(pairs) == 18
        first.update(pair.left.picture.image for pair in pairs)
    # 480 sides each by chance, standard deviation at most 15.5: five of them.
    assert all(abs(first[image] - 240) < 78 for image in ("i0", "i1", "i2"))
