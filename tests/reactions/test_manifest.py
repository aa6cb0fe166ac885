import pytest

from fergi_reward.errors import FergiRewardError
from fergi_reward.reactions.manifest import read_recordings

HEADER = "video,user,session,image,consent\n"


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
        (HEADER + "a.mp4,ann,1,2,2026-01-31\nb.mp4,bob,1,2,\n", "row 3: the consent of user bob is ''"),
        (HEADER + "a.mp4,ann,1,2,no\n", "the consent of user ann is 'no', must be the day"),
        (HEADER + "a.mp4,ann,1,2\n", "the consent of user ann is ''"),
        (HEADER + "a.mp4,,1,2,2026-01-31\n", "row 2: video, user, session or image is missing"),
        (
            HEADER + "a.mp4,ann,1,2,2026-01-31\nb.mp4,ann,1,2,2026-01-31\n",
            r"user ann, session 1, image 2 \(reaction\) is given twice",
        ),
        (
            HEADER.strip() + ",kind\na.mp4,ann,1,2,2026-01-31,smile\n",
            "row 2: kind is 'smile', must be reaction or base",
        ),
        (HEADER, "names no video"),
        ("", "video, user, session, image, consent missing"),
        (None, "cannot be read"),
    ],
)
def test_a_manifest_that_cannot_be_used(tmp_path, text, message):
    path = tmp_path / "videos.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(FergiRewardError, match=message):
        read_recordings(path)
