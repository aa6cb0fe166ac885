"""A small whole picture of each format: those that Pillow writes, and others by hand, from their descriptions."""

import io
import struct

from PIL import Image

from fergi_reward.files.picture_files import FORMATS

SIDE = 32


def pictures() -> dict[str, bytes]:
    """What a file of each format holds, by the format's name."""
    Image.init()
    found = _by_hand()
    for name in FORMATS:
        for mode in ("RGB", "P", "1"):
            try:
                found[name] = written(name, mode)
            except (KeyError, OSError, ValueError, AttributeError):  # no writer, or not of this mode
                continue
            break
    return found


def written(name: str, mode: str, **options: object) -> bytes:
    """A picture as Pillow writes it."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((SIDE, SIDE)).convert(mode).save(buffer, name, **options)
    return buffer.getvalue()


def _by_hand() -> dict[str, bytes]:
    size, colours = (SIDE, SIDE), bytes(range(256)) * 12
    cursor = bytearray(written("ICO", "RGB", bitmap_format="bmp", sizes=[size]))
    cursor[2] = 2
    rows = f'"{"ab" * (SIDE // 2)}",\n' * SIDE
    colormap = f'"{SIDE} {SIDE} 2 1",\n"a c #ff0000",\n"b c #00ff00",\n'
    header = bytearray(1024)
    header[:4], header[416:420], header[424:428] = b"\200\350\0\0", struct.pack("<2H", *size), struct.pack("<2H", 14, 2)
    return {
        "CUR": bytes(cursor),
        "DCX": struct.pack("<3I", 0x3ADE68B1, 12, 0) + written("PCX", "RGB"),
        "FTEX": struct.pack("<4s8I", b"FTEX", 1, *size, 1, 1, 1, 32, len(colours)) + colours,
        "GBR": struct.pack(">5I4sI", 30, 2, *size, 4, b"GIMP", 10) + b"a\0" + bytes(4 * SIDE * SIDE),
        "PIXAR": bytes(header) + colours,
        "PSD": struct.pack(">4sH6xH2I2H3IH", b"8BPS", 1, 3, *size, 8, 3, 0, 0, 0, 0) + colours,
        "QOI": struct.pack(">4s2I2B", b"qoif", *size, 3, 0) + b"\xfe\x01\x02\x03" * SIDE * SIDE + bytes(7) + b"\x01",
        "SUN": struct.pack(">8I", 0x59A66A95, *size, 24, len(colours), 1, 0, 0) + colours,
        "XPM": f"/* XPM */\nstatic char *a[] = {{\n{colormap}{rows}}};".encode(),
    }
