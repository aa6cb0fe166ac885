import os
import socket
import struct
from pathlib import Path

import numpy as np
import pytest

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.reactions.video import Window, read_frames, read_windows

av = pytest.importorskip("av", reason="PyAV comes with the extra reactions")

PICTURE = np.zeros((64, 96, 3), dtype=np.uint8)  # red above blue, with a green edge on the left
PICTURE[:32], PICTURE[32:], PICTURE[:, :16] = (255, 0, 0), (0, 0, 255), (0, 255, 0)


def turned(path):
    """Note in the header of an MP4 that players must turn it by 90 degrees clockwise."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44  # after the fourcc: version, times, track, duration, layer, group, volume
    one = 1 << 16
    content[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


def without_frames(path):
    """Empty the list of the durations of an MP4's frames (stts)."""
    content = path.read_bytes()
    start = content.index(b"stts") - 4
    (size,) = struct.unpack(">I", content[start : start + 4])
    box = struct.pack(">I4sII", 16, b"stts", 0, 0)
    shorter = bytearray(content[:start] + box + content[start + size :])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):  # the boxes that hold it
        place = content.index(name) - 4
        (whole,) = struct.unpack(">I", content[place : place + 4])
        shorter[place : place + 4] = struct.pack(">I", whole + len(box) - size)
    path.write_bytes(shorter)


def test_pictures_come_with_their_times(write_video, tmp_path):
    frames = list(read_frames(write_video(tmp_path / "a.mp4", [PICTURE] * 4, rate=25)))
    assert [frame.timestamp for frame in frames] == pytest.approx([0, 0.04, 0.08, 0.12])
    np.testing.assert_allclose(frames[-1].pixels[8::16, 8::16], PICTURE[8::16, 8::16], atol=8)


def test_a_rotated_video_is_turned_upright(write_video, tmp_path):
    frame = next(read_frames(turned(write_video(tmp_path / "a.mp4", [PICTURE] * 2))))
    np.testing.assert_allclose(frame.pixels[8::16, 8::16], np.rot90(PICTURE, -1)[8::16, 8::16], atol=8)


def test_the_frame_rate_may_vary(write_video, tmp_path):
    times = [0, 0.032, 0.128, 0.144, 0.160, 0.176]
    read = [frame.timestamp for frame in read_frames(write_video(tmp_path / "a.mp4", [PICTURE] * 6, times=times))]
    assert read == pytest.approx(times)


def still(frames):
    """Grey pictures that get lighter, so that a codec has differences to write and not only whole pictures."""
    return [np.full((64, 96, 3), number % 256, dtype=np.uint8) for number in range(frames)]


def noise(frames):
    return list(np.random.default_rng(0).integers(0, 256, (frames, *PICTURE.shape), dtype=np.uint8))


def remuxed(source, path, start=0.0):
    """The same packets in another container; what comes before `start` is cut without decoding, by an edit list."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        streams = {stream.index: new.add_stream_from_template(stream) for stream in old.streams}
        for packet in old.demux():
            if packet.dts is not None:
                shift = round(start / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    return path


SLOW = np.concatenate([np.arange(30) / 30, 1 + np.arange(20) / 10])  # a webcam in the dark


@pytest.mark.parametrize(
    ("name", "how", "frames"),
    [
        ("browser.webm", {"format": "webm", "live": "1"}, 60),
        ("browser.webm", {"format": "webm", "live": "1", "sound": 2.0}, 60),
        ("whole.mov", {}, 60),
        ("whole.avi", {"codec": "mpeg4"}, 60),
        ("whole.ts", {}, 60),
        ("pieces.mp4", {"movflags": "frag_keyframe+empty_moov"}, 60),
        *((f"slow.{ending}", {"times": SLOW}, 50) for ending in ("mp4", "webm", "mkv")),
        *((f"sound_goes_on.{ending}", {"sound": 5.0}, 60) for ending in ("mp4", "webm", "mkv")),
    ],
)
def test_whole_videos_of_every_kind_are_read_whole(write_video, tmp_path, name, how, frames):
    path = write_video(tmp_path / name, still(frames), **how)
    read = [frame.timestamp for frame in read_frames(path)]
    assert read == pytest.approx(how.get("times", np.arange(frames) / 30), abs=2e-3)


@pytest.mark.parametrize("ending", ["webm", "mkv"])
def test_a_remuxed_browser_recording_is_whole(write_video, tmp_path, ending):
    source = write_video(tmp_path / "live.webm", still(60), times=np.arange(60) / 12, format="webm", live="1")
    assert len(list(read_frames(remuxed(source, tmp_path / f"a.{ending}")))) == 60


def test_a_losslessly_trimmed_file_is_whole_and_begins_where_it_was_cut(write_video, tmp_path):
    source = write_video(tmp_path / "a.mp4", still(90), sound=3.0)
    trimmed = remuxed(source, tmp_path / "b.mp4", start=1.5)
    assert b"elst" in trimmed.read_bytes()
    times = [frame.timestamp for frame in read_frames(trimmed)]
    assert times == pytest.approx(np.arange(45) / 30, abs=2e-3)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("front.mp4", {"movflags": "faststart"}),
        ("front.mp4", {"movflags": "faststart", "sound": 4.0}),
        ("pieces.mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("a.webm", {}),
        ("a.mkv", {"sound": 4.0}),
        ("browser.webm", {"format": "webm", "live": "1"}),
        ("browser.webm", {"format": "webm", "live": "1", "sound": 2.0}),
        ("a.avi", {"codec": "mpeg4"}),
    ],
)
@pytest.mark.parametrize("share", [0.3, 0.55, 0.8])
def test_a_video_that_breaks_off_is_refused(write_video, tmp_path, name, how, share):
    path = write_video(tmp_path / name, noise(60), **how)
    with av.open(str(path)) as container:
        cut = [packet.pos + packet.size // 2 for packet in container.demux(video=0) if packet.size][int(share * 60)]
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(FergiRewardError, match="breaks off"):
        list(read_frames(path))


@pytest.mark.parametrize("sound", [None, 2.0])
def test_a_transport_stream_that_ends_within_a_picture_is_refused(write_video, tmp_path, sound):
    path = write_video(tmp_path / "a.ts", noise(30), sound=sound)
    whole, size = path.read_bytes(), 188  # of a packet of the container; a picture takes about 16
    with av.open(str(path)) as container:
        pictures = [packet.pos for packet in container.demux(video=0) if packet.size]
    for number in (9, 16, 24):
        path.write_bytes(whole[: (pictures[number] + pictures[number + 1]) // 2 // size * size])
        with pytest.raises(FergiRewardError, match="breaks off within a picture"):
            list(read_frames(path))


def test_windows_of_one_recording(write_video, tmp_path):
    path = write_video(tmp_path / "a.mp4", still(90))
    windows = [Window(0, 0.1), Window(1, 1.2), Window(2.9, 3.0)]
    read = [[round(frame.timestamp * 30) for frame in frames] for frames in read_windows(path, windows)]
    assert read == [[0, 1, 2], list(range(30, 36)), [87, 88, 89]]


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (Window(2, 4), "ends after 2.97 s, the window from 2 to 4 s does not"),
        (Window(1.01, 1.02), "has no picture from 1.01 to 1.02 s"),
    ],
)
def test_a_window_that_the_recording_does_not_fill(write_video, tmp_path, window, message):
    path = write_video(tmp_path / "a.mp4", still(90))
    *_, frames = read_windows(path, [Window(0, 1), window])
    with pytest.raises(FergiRewardError, match=message):
        list(frames)


def test_a_long_recording_needs_windows(write_video, tmp_path):
    path = write_video(tmp_path / "a.mp4", still(8), times=np.arange(8) * 100.0)
    with pytest.raises(FergiRewardError, match="longer than 10 minutes: say with the columns start and end"):
        list(read_frames(path))
    assert len(list(next(read_windows(path, [Window(0, 300)])))) == 3


def one_after_the_other(write_video, path):
    """Two recordings in one file: the time starts again."""
    content = write_video(path.with_suffix(".ts"), [PICTURE] * 10).read_bytes()
    path.write_bytes(content + content)


def playlist(write_video, path):
    """A text that asks its reader to open another file."""
    other = write_video(path.with_suffix(".ts"), [PICTURE] * 10)
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{other}\n#EXT-X-ENDLIST\n")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda write, path: None, "is missing or cannot be read"),
        (lambda write, path: path.write_bytes(b""), "is empty, damaged or no video"),
        (lambda write, path: path.write_text("no video at all"), "is empty, damaged or no video"),
        (lambda write, path: path.mkdir(), "is no ordinary file"),
        (lambda write, path: os.mkfifo(path), "is no ordinary file"),
        (lambda write, path: path.symlink_to("/dev/zero"), "is no ordinary file"),
        (playlist, "is empty, damaged or no video"),
        (lambda write, path: path.write_bytes(write(path, [PICTURE] * 5).read_bytes()[:400]), "is empty, damaged or"),
        (lambda write, path: without_frames(write(path, [PICTURE] * 3)), "is a video without frames"),
        (one_after_the_other, "frame 11 is at 0.000 s, the one before it at 0.300 s, but time must increase"),
    ],
    ids=["missing", "zero length", "text", "folder", "pipe", "device", "playlist", "no header", "no frames", "back"],
)
def test_a_video_that_cannot_be_read(write_video, tmp_path, damage, message):
    path = tmp_path / "clip.mp4"
    damage(write_video, path)
    with pytest.raises(FergiRewardError, match=message):
        list(read_frames(path))


@pytest.mark.parametrize("name", ["10:30:05.mp4", "http:a.mp4", "-i.mp4", "%03d.mp4", "a b#c?.mp4"])
def test_a_name_is_a_name_and_no_address(write_video, tmp_path, monkeypatch, name):
    write_video(tmp_path / "a.mp4", [PICTURE] * 4).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(list(read_frames(Path(name)))) == 4


def test_an_address_is_not_asked(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        with pytest.raises(FergiRewardError, match="is missing or cannot be read"):
            list(read_frames(tmp_path / f"http://127.0.0.1:{server.getsockname()[1]}/a.mp4"))
        with pytest.raises(TimeoutError):
            server.accept()
