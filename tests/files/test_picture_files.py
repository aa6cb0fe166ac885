"""What a picture file may be, and what happens with one that is something else."""

import os
import re
import struct
import zlib
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from threading import Barrier, BrokenBarrierError

import pytest
from PIL import Image, PngImagePlugin

from fergi_reward.bulk.batch_scores import BatchScores, Prepared
from fergi_reward.bulk.manifest import Row
from fergi_reward.bulk.scoring import scored_batches
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.files import picture_files
from fergi_reward.files.picture_files import FORMATS, SUFFIXES
from fergi_reward.images import open_picture
from fergi_reward.toy import tiny

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
WRITABLE = sorted({*FORMATS} - {"CUR", "DCX", "FLI", "FTEX", "GBR", "PCD", "PIXAR", "PSD", "SPIDER", "SUN", "XPM"})


def test_postscript_in_a_png_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path / 'started'}\n")
    ghostscript.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "cat.png").write_bytes(EPS)
    for picture in (tmp_path / "cat.png", EPS):
        with pytest.raises(FergiRewardError, match="no image file of a format that is read here"):
            open_picture(picture)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("name", WRITABLE)
def test_a_picture_of_every_format_opens_and_its_ending_is_found_in_folders(name: str, tmp_path: Path) -> None:
    Image.init()
    mode = "1" if name in ("MSP", "XBM") else "P" if name == "BLP" else "RGB"
    path = tmp_path / f"cat{FORMATS[name][0]}"
    Image.new(mode, (16, 16)).save(path, name)
    assert 0 not in open_picture(path).size
    assert path.suffix in SUFFIXES


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_a_pipe_a_folder_and_a_device_are_refused_at_once(make: object, tmp_path: Path) -> None:
    make(tmp_path / "cat.png")  # type: ignore[operator]
    with pytest.raises(FergiRewardError, match=r"cannot read .*cat.png \(it is no ordinary file\)"):
        open_picture(tmp_path / "cat.png")


def test_a_name_that_no_file_can_have_is_that_pictures_error() -> None:
    for name in ("a\0.png", "a\ud800.png"):
        with pytest.raises(FergiRewardError, match="no file can have this name"):
            open_picture(name)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError,
        NotImplementedError,
        AttributeError,
        struct.error,
        zlib.error,
        MemoryError,
        RecursionError,
        KeyError,
    ],
)
def test_whatever_decoding_raises_is_the_pictures_error(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")

    def broken(_: object) -> None:
        raise error

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", broken)
    with pytest.raises(FergiRewardError, match="cannot read the bytes"):
        open_picture(buffer.getvalue())
    with pytest.raises(FergiRewardError, match="cannot read the PngImageFile"):
        open_picture(Image.open(buffer))


def test_limits_hold_where_a_program_has_lifted_those_of_pillow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (50, 21)).save(tmp_path / "cat.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    monkeypatch.setattr(picture_files, "MAX_PIXELS", 50 * 21)
    assert open_picture(tmp_path / "cat.png").size == (50, 21)
    monkeypatch.setattr(picture_files, "MAX_PIXELS", 1000)
    with pytest.raises(FergiRewardError, match="50 x 21 pixels and may have 1,000"):
        open_picture(tmp_path / "cat.png")
    monkeypatch.setattr(picture_files, "MAX_BYTES", 60)
    for picture in (tmp_path / "cat.png", (tmp_path / "cat.png").read_bytes()):
        with pytest.raises(FergiRewardError, match="bytes and may have 60"):
            open_picture(picture)


def test_the_limit_of_pillow_for_large_pictures_holds_here(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = BytesIO()
    Image.new("1", (40, 50)).save(buffer, "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)
    with pytest.warns(Image.DecompressionBombWarning):
        assert open_picture(buffer.getvalue()).size == (40, 50)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(FergiRewardError, match=r"2000 pixels\) exceeds limit of 1000"):
        open_picture(buffer)


@pytest.mark.parametrize("name", ["ICO", "ICNS"])
def test_the_limit_holds_for_what_is_inside_of_an_icon_too(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    buffer = BytesIO()
    Image.new("RGB", (32, 32)).save(buffer, name, **({"sizes": [(32, 32)]} if name == "ICO" else {}))
    header = b"IHDR" + struct.pack(">2I5B", 20_000, 20_000, 8, 2, 0, 0, 0)
    header += struct.pack(">I", zlib.crc32(header))
    path = tmp_path / "cat.icon"
    path.write_bytes(re.sub(rb"IHDR.{17}", lambda _: header, buffer.getvalue(), flags=re.DOTALL))
    with pytest.raises(FergiRewardError, match="exceeds limit"):
        open_picture(path)
    assert Image.MAX_IMAGE_PIXELS is None


@pytest.mark.parametrize("large", [True, False])
def test_of_large_pictures_one_at_a_time_is_decoded_and_prepared(
    large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (10, 10), "red").save(tmp_path / "cat.png")
    monkeypatch.setattr(picture_files, "LARGE_PIXELS", 99 if large else 100)
    scores, at_once = BatchScores({"clip": tiny.clip()}, batch_size=2), Barrier(2)
    prepared, met = scores.prepared, list[bool]()

    def both(picture: Image.Image) -> Prepared:
        with suppress(BrokenBarrierError):
            at_once.wait(0.2 if large else 60)
        met.append(not at_once.broken)
        return prepared(picture)

    monkeypatch.setattr(scores, "prepared", both)
    rows = [Row(number, "cat.png", tmp_path / "cat.png", f"a cat, number {number}") for number in range(2)]
    (found,) = scored_batches([rows], scores, workers=2)
    assert met == [not large] * 2
    assert len([value for value in found.values.values() if isinstance(value, list)]) == 2
