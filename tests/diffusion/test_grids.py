import torch
from PIL import Image

from fergi_reward.diffusion.grids import TILE, write_grid


def test_a_grid_has_the_pictures_in_place_and_text_under_them(tmp_path):
    colours = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    pixels = colours.view(3, 3, 1, 1).expand(3, 3, 16, 8)
    write_grid(tmp_path / "grids" / "grid.png", pixels, ["red", "green", "word " * 100], columns=2)
    grid = Image.open(tmp_path / "grids" / "grid.png")
    cell = grid.height // 2
    assert grid.width == 2 * TILE
    corners = [grid.getpixel((column * TILE + 1, row * cell + 1)) for row, column in [(0, 0), (0, 1), (1, 0)]]
    assert corners == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    caption = grid.crop((0, 2 * TILE, TILE, cell)).convert("L")
    assert caption.getextrema()[0] < 100
    overlong = grid.crop((TILE - 4, cell + 2 * TILE, TILE, 2 * cell)).convert("L")
    assert overlong.getextrema() == (255, 255)
