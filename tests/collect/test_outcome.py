"""What a rehearsal concludes from the tables of a study, with faults that were put in."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fergi_reward.collect.options import CollectOptions
from fergi_reward.collect.simulation.outcome import outcome
from fergi_reward.collect.simulation.participant import Way
from fergi_reward.collect.simulation.people import digest, draw_people

SESSIONS, PICTURES, PEOPLE = 3, 4, 7


@pytest.fixture
def rehearsed(tmp_path, write_extracted):
    """A function that writes a study as simulated people leave it; `frowning` says what is measured of their brows."""
    draws, rows, digests = np.random.default_rng(0), ["session,image,file,prompt"], {}
    for session in range(SESSIONS):
        for image in range(PICTURES):
            file = tmp_path / f"{session}{image}.png"
            Image.fromarray(draws.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file)
            rows.append(f"s{session},i{image},{file.name},a cat")
            digests[f"s{session}", f"i{image}"] = digest(file.read_bytes())
    (tmp_path / "pictures.csv").write_text("\n".join(rows) + "\n")
    ways = [Way(person, f"p-{person.number}", 0, person.withdraws) for person in draw_people(PEOPLE, 0)]
    options = CollectOptions(pictures=tmp_path / "pictures.csv", out=tmp_path / "study")

    def write(frowning=lambda lowering: 0.2 * lowering, ranking=lambda value: value):
        seen = pd.DataFrame(
            [
                (way.name, session, image, frowning(way.person.lowering(at)), ranking(way.person.ranking_value(at)))
                for way in ways[:-1]
                for (session, image), at in digests.items()
            ],
            columns=["user", "session", "image", "au4", "value"],
        )
        seen["rank"] = seen.groupby(["user", "session"])["value"].rank().astype(int)
        options.out.mkdir()
        seen[["user", "session", "image", "rank"]].to_csv(options.out / "judgements.csv", index=False)
        write_extracted(options.out / "reactions", seen, "mediapipe-landmarks")
        return outcome(options, ways)

    return write, options, ways


def test_all_is_well(rehearsed):
    write, _, _ = rehearsed
    found = write()
    assert found.problems == []
    assert found.values["correlation"] == pytest.approx(1)
    assert found.values["au4"] < found.values["au4_ci95"][1] < 0
    assert found.lines[:2] == [
        "1 of 7 participants withdrew, and 0 files has them",
        "18 of 18 rankings arrived as they were made",
    ]


def test_brows_that_rise_at_disliked_pictures_are_noticed(rehearsed):
    write, _, _ = rehearsed
    found = write(frowning=lambda lowering: 0.2 - lowering)
    assert found.problems == [
        "measured and simulated brows correlate by -1.00, at least 0.5",
        "AU4's weight is not negative, as the simulation made it",
    ]


def test_rankings_that_were_turned_around_are_noticed(rehearsed):
    write, _, _ = rehearsed
    assert "p-0's ranking of session s0 is not the one that was made" in write(ranking=lambda value: -value).problems


def test_whoever_withdrew_and_is_in_a_file_is_noticed(rehearsed):
    write, options, ways = rehearsed
    assert write().problems == []
    (options.out / "left.bin").write_bytes(b"x" + ways[-1].name.encode())
    assert outcome(options, ways).problems == [f"who withdrew is still in {options.out / 'left.bin'}"]
