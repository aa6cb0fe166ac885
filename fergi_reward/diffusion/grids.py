"""Grids of pictures with their prompts under them."""

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from fergi_reward.files.atomic import atomic_path
from fergi_reward.images import to_picture

# Wide enough for a prompt to be read under it, whatever the size of the pictures.
TILE = 224
FONT_SIZE = 14
LINE_HEIGHT = 18
MARGIN = 4
CAPTION_LINES = 3


def write_grid(path: Path | str, pixels: Tensor, captions: Sequence[str], columns: int) -> None:
    """Write pixels (B, 3, H, W) in [0, 1] as one PNG, row by row, each picture with its caption under it."""
    cells = [_cell(picture, caption) for picture, caption in zip(pixels, captions, strict=True)]
    width, height = cells[0].size
    grid = Image.new("RGB", (columns * width, math.ceil(len(cells) / columns) * height), "white")
    for index, cell in enumerate(cells):
        grid.paste(cell, (index % columns * width, index // columns * height))
    with atomic_path(path) as temporary:
        grid.save(temporary)


def _cell(picture: Tensor, caption: str) -> Image.Image:
    """A picture over its caption; a word too long for the cell is cut at its edge."""
    font = ImageFont.load_default(FONT_SIZE)
    tile = _tile(picture)
    cell = Image.new("RGB", (TILE, tile.height + CAPTION_LINES * LINE_HEIGHT), "white")
    cell.paste(tile)
    draw = ImageDraw.Draw(cell)
    for line, text in enumerate(_wrapped(caption, font)):
        draw.text((MARGIN, tile.height + line * LINE_HEIGHT), text, fill="black", font=font)
    return cell


def _tile(picture: Tensor) -> Image.Image:
    """Small pictures are enlarged without smoothing, so that one sees the pixels that were made."""
    image = to_picture(picture)
    size = (TILE, round(TILE * image.height / image.width))
    return image.resize(size, Image.Resampling.NEAREST if image.width < TILE else Image.Resampling.LANCZOS)


def _wrapped(caption: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """The caption in lines as wide as a tile; what is left over after the last one is cut, with an ellipsis."""
    width = TILE - 2 * MARGIN - font.getlength(" …")
    lines = [""]
    for word in caption.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > CAPTION_LINES:
        lines = [*lines[: CAPTION_LINES - 1], f"{lines[CAPTION_LINES - 1]} …"]
    return lines
