import pytest

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.reactions.manifest import read_recordings
from fergi_reward.reactions.video import Window

HEADER = "video,user,session,image,consent\n"
TIMES = "video,user,session,image,consent,start,end\n"


def test_a_manifest_and_its_folder(tmp_path):
    (tmp_path / "manifest.csv").write_text(HEADER + "a/b.mp4,ann,1,cat.png,2026-01-31\n")
    (recording,) = read_recordings(tmp_path)
    assert read_recordings(tmp_path / "manifest.csv") == [recording]
    assert recording.path == tmp_path / "a" / "b.mp4"
    assert recording.key == ("ann", "1", "cat.png", "reaction")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video,user,session,image\na.mp4,ann,1,2\n", "has no column consent: faces are measured only of people who"),
        (HEADER + "a.mp4,ann,1,2,2026-01-31\nb.mp4,bob,1,2,\n", "line 3, column consent: that of user bob is ''"),
        (HEADER + "a.mp4,ann,1,2,no\n", "that of user ann is 'no', must be the day"),
        (HEADER + "a.mp4,ann,1,2,2026-W05-6\n", "is '2026-W05-6', must be the day"),
        (HEADER + "a.mp4,ann,1,2,20260131\n", "is '20260131', must be the day"),
        (HEADER + "a.mp4,ann,1,2,2026-02-30\n", "is '2026-02-30', must be the day"),
        (HEADER + "a.mp4,ann,1,2,2099-12-31\n", "is 2099-12-31, which is still to come"),
        (HEADER + "a.mp4,ann,1,2\n", "line 2: the row has 4 cells where the header has 5"),
        (HEADER + "a.mp4,,1,2,2026-01-31\n", "line 2, column user: is empty"),
        (
            HEADER + "a.mp4,ann,1,2,2026-01-31\nb.mp4,ann,1,2,2026-01-31\n",
            r"user ann, session 1, image 2 \(reaction\) is given twice",
        ),
        (
            HEADER.strip() + ",kind\na.mp4,ann,1,2,2026-01-31,smile\n",
            "column kind: is 'smile', must be reaction or base",
        ),
        (
            HEADER.strip() + ",training\na.mp4,ann,1,2,2026-01-31,yes\n",
            "column training: is 'yes', must be 1 or 0, whether they agreed that models are trained",
        ),
        (HEADER.strip() + ",begin\na.mp4,ann,1,2,2026-01-31,3\n", "unknown column 'begin'"),
        (TIMES + "a.mp4,ann,1,2,2026-01-31,3,\n", "column end: '' is not a number"),
        (TIMES + "a.mp4,ann,1,2,2026-01-31,3,3\n", "column end: is 3, must be after the start, 3"),
        (TIMES + "a.mp4,ann,1,2,2026-01-31,-1,3\n", "column start: '-1' is below 0"),
        (TIMES + "a.mp4,ann,1,2,2026-01-31,0,nan\n", "column end: 'nan' is not a finite number"),
        (TIMES + "a.mp4,ann,1,2,2026-01-31,,\na.mp4,ann,1,3,2026-01-31,,\n", "a.mp4 is given for user ann, .*overlap"),
        (TIMES + "a.mp4,ann,1,2,2026-01-31,,\n./a.mp4,ann,1,3,2026-01-31,5,9\n", "say with the columns start and end"),
        (
            TIMES + "a.mp4,ann,1,2,2026-01-31,0,5\na.mp4,ann,1,3,2026-01-31,4.9,9\n",
            "say with the columns start and end",
        ),
        (
            TIMES + "a.mp4,ann,1,2,2026-01-31,0,5\na.mp4,bob,1,3,2026-01-31,5,9\n",
            "a.mp4 is given for two people, user ann",
        ),
        (HEADER, "has a header and no row"),
        ("", "the file is empty"),
        (None, "cannot be read"),
    ],
)
def test_a_manifest_that_cannot_be_used(tmp_path, text, message):
    path = tmp_path / "videos.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(FergiRewardError, match=message):
        read_recordings(path)


def test_a_link_to_a_video_is_that_video(tmp_path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "b.mp4").symlink_to(tmp_path / "a.mp4")
    (tmp_path / "c.mp4").hardlink_to(tmp_path / "a.mp4")
    for other in ("b.mp4", "c.mp4"):
        (tmp_path / "manifest.csv").write_text(HEADER + f"a.mp4,an,1,2,2026-01-31\n{other},bo,1,2,2026-01-31\n")
        with pytest.raises(FergiRewardError, match="is given for two people"):
            read_recordings(tmp_path)


def test_windows_of_one_video(tmp_path):
    rows = "a.mp4,ann,1,2,2026-01-31,5,9.5\na.mp4,ann,1,1,2026-01-31,0,5\n"
    (tmp_path / "manifest.csv").write_text(TIMES + rows)
    assert [recording.window for recording in read_recordings(tmp_path)] == [Window(5, 9.5), Window(0, 5)]
