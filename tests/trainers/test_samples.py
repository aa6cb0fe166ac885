import pytest
import torch
from PIL import Image

from fergi_reward.errors import FergiRewardError
from fergi_reward.trainers.samples import TILE, draw_prompts, read_prompts, write_grid


def test_prompts_are_the_lines_that_are_not_empty(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("a cat\n\n  a dög \n", encoding="utf-8")
    assert read_prompts(path) == ["a cat", "a dög"]


@pytest.mark.parametrize(
    ("content", "message"), [(b" \n\n", "holds no prompt"), (b"\xff\xfe\x00", "UTF-8"), (None, "cannot read")]
)
def test_prompt_files_that_are_none(tmp_path, content, message):
    path = tmp_path / "prompts.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FergiRewardError, match=message):
        read_prompts(path)


def test_drawing_follows_its_generator_and_reaches_every_prompt():
    prompts = ["a", "b", "c"]
    first, again = (draw_prompts(prompts, 50, torch.Generator().manual_seed(1)) for _ in range(2))
    assert first == again
    assert set(first) == set(prompts)


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
