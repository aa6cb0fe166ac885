import csv

from fergi_reward.reactions.folder import MANIFEST_COLUMNS, ReactionFolder
from fergi_reward.reactions.people import people_rows


def clip(user, kind, au4, source="camera"):
    return {"user": user, "kind": kind, "source": source, "au4": au4, "au12": 1.0}


def test_each_person_has_the_quantiles_of_their_own_clips():
    baselines = [clip("b", "baseline", value) for value in (0.1, 0.5, 0.2, 0.4, 0.3, 0.6)]
    rows = [clip("b", "reaction", 0.7), *baselines, clip("a", "reaction", 1.0), clip("a", "reaction", 2.0)]
    columns, people = people_rows(rows, ("au4", "au12"))
    assert columns == ["user", "source", "reactions", "baselines", "au4_reaction", "au4_noise", "au4_noise_80"]
    assert [list(person.values()) for person in people] == [
        ["b", "camera", 1, 6, 0.7, 0.35, 0.5],
        ["a", "camera", 2, 0, 1.5, "", ""],
    ]


def test_a_folder_without_clips_has_no_person():
    assert people_rows([], ("au4",))[1] == []


def test_who_is_forgotten_leaves_no_row_and_is_known_on_both_scales_of_mediapipe(tmp_path):
    folder = ReactionFolder(tmp_path / "reactions")
    empty = dict.fromkeys(MANIFEST_COLUMNS, "1")
    rows = [empty | clip(user, "reaction", 0.01, "mediapipe-landmarks") for user in ("ann", "bob")]
    with folder.changing():
        folder.write_rows(rows, ("au4",))
    assert folder.forget("ann").sources == ["mediapipe-blendshapes", "mediapipe-landmarks"]
    with folder.people.open() as file:
        assert [row["user"] for row in csv.DictReader(file)] == ["bob"]
    folder.forget("bob")
    assert not folder.people.exists()
