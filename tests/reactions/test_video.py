import struct

import numpy as np
import pytest

from fergi_reward.errors import FergiRewardError
from fergi_reward.reactions.video import read_frames

PICTURE = np.zeros((64, 96, 3), dtype=np.uint8)  # red above blue, with a green edge on the left
PICTURE[:32], PICTURE[32:], PICTURE[:, :16] = (255, 0, 0), (0, 0, 255), (0, 255, 0)


def turned(path):
    """Note in the header of an MP4 that it is to be shown turned by 90 degrees clockwise."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44  # after the fourcc: version, times, track, duration, layer, group, volume
    one = 1 << 16
    content[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


def with_intervals(path, ticks):
    """Give each frame of an MP4 a duration of its own: its list of durations (stts) is written anew."""
    content = path.read_bytes()
    start = content.index(b"stts") - 4
    (size,) = struct.unpack(">I", content[start : start + 4])
    entries = b"".join(struct.pack(">II", 1, tick) for tick in ticks)
    box = struct.pack(">I4sII", 16 + len(entries), b"stts", 0, len(ticks)) + entries
    longer = bytearray(content[:start] + box + content[start + size :])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):  # the boxes that hold it
        place = content.index(name) - 4
        (whole,) = struct.unpack(">I", content[place : place + 4])
        longer[place : place + 4] = struct.pack(">I", whole + len(box) - size)
    path.write_bytes(longer)
    return path


def test_pictures_come_with_their_times(write_video, tmp_path):
    frames = list(read_frames(write_video(tmp_path / "a.mp4", [PICTURE] * 4, rate=25)))
    assert [frame.timestamp for frame in frames] == pytest.approx([0, 0.04, 0.08, 0.12])
    np.testing.assert_allclose(frames[-1].pixels[8::16, 8::16], PICTURE[8::16, 8::16], atol=8)


def test_a_rotated_video_is_turned_upright(write_video, tmp_path):
    frame = next(read_frames(turned(write_video(tmp_path / "a.mp4", [PICTURE] * 2))))
    np.testing.assert_allclose(frame.pixels[8::16, 8::16], np.rot90(PICTURE, -1)[8::16, 8::16], atol=8)


def test_the_frame_rate_may_vary(write_video, tmp_path):
    path = write_video(tmp_path / "a.mp4", [PICTURE] * 6)
    ticks = [512, 1536, 256, 256, 256, 256]  # 15360 a second
    times = [frame.timestamp for frame in read_frames(with_intervals(path, ticks))]
    assert times == pytest.approx(np.cumsum([0, *ticks[:-1]]) / 15360)


def one_after_the_other(write_video, path):
    """Two recordings in one file: the time starts anew."""
    content = write_video(path.with_suffix(".ts"), [PICTURE] * 10).read_bytes()
    path.write_bytes(content + content)


def broken_off(write_video, path):
    noise = np.random.default_rng(0).integers(0, 256, (50, *PICTURE.shape), dtype=np.uint8)
    content = write_video(path.with_suffix(".avi"), noise).read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda write, path: None, "is missing, empty, damaged or no video"),
        (lambda write, path: path.write_bytes(b""), "is missing, empty, damaged or no video"),
        (lambda write, path: path.write_text("no video at all"), "is missing, empty, damaged or no video"),
        (lambda write, path: path.mkdir(), "is missing, empty, damaged or no video"),
        (lambda write, path: path.write_bytes(write(path, [PICTURE] * 5).read_bytes()[:400]), "is missing, empty, dam"),
        (broken_off, r"breaks off after \d+ of 50 frames"),
        (lambda write, path: with_intervals(write(path, [PICTURE] * 3), []), "is a video without frames"),
        (one_after_the_other, "frame 11 is at 0.000 s, the one before it at 0.300 s, but time must go on"),
    ],
    ids=["missing", "zero length", "text", "folder", "no header", "broken off", "no frames", "backwards"],
)
def test_a_video_that_cannot_be_read(write_video, tmp_path, damage, message):
    path = tmp_path / "clip.mp4"
    damage(write_video, path)
    with pytest.raises(FergiRewardError, match=message):
        list(read_frames(path))
