import random
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn.functional import cosine_similarity

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.images import open_picture, to_pixels
from fergi_reward.scorers.hps import HPSv2Scorer
from fergi_reward.toy import tiny


@pytest.fixture(scope="module", params=["v2.0", "v2.1"])
def version(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module", params=[True, False], ids=["antialias", "no_antialias"])
def antialias(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture(scope="module")
def scorer(checkpoints: Path, version: str, antialias: bool) -> HPSv2Scorer:
    return HPSv2Scorer.from_pretrained(checkpoints / "hps", version=version, antialias=antialias)


@pytest.fixture(scope="module")
def rows(cases, golden, version: str, antialias: bool) -> list[tuple[Path, str, float]]:
    """Golden cases; the original crashes on RGBA."""
    expected = golden[f"hps_{version}_{'' if antialias else 'no_'}antialias"]
    paired = zip(cases, expected, strict=True)
    return [(path, prompt, value) for (_, path, prompt), value in paired if value is not None]


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_the_original_scores_in_any_batch_and_order(scorer, rows, batch_size: int) -> None:
    shuffled = random.Random(batch_size).sample(rows, len(rows))
    paths, prompts, expected = zip(*shuffled, strict=True)
    scores = scorer.score(paths, prompts, batch_size=batch_size)
    torch.testing.assert_close(scores, torch.tensor(expected), rtol=0, atol=1e-6)


def test_the_original_scores_one_by_one_from_pictures_and_from_pixels(scorer, rows) -> None:
    for path, prompt, expected in rows:
        pixels = to_pixels(open_picture(path).convert("RGB"))[None]
        assert scorer.score(path, prompt).item() == pytest.approx(expected, abs=1e-6)
        assert scorer(pixels, prompt).item() == pytest.approx(expected, abs=1e-6)


def test_alpha_is_dropped_where_the_original_crashes() -> None:
    red = Image.new("RGB", (40, 32), "red")
    seen_through = red.copy()
    seen_through.putalpha(10)
    assert torch.equal(tiny.hps().score(red, "red"), tiny.hps().score(seen_through, "red"))


@pytest.mark.parametrize("size", [(16, 32), (32, 16), (31, 32), (40, 64)])
def test_the_picture_lies_whole_in_the_middle_of_zeros(size: tuple[int, int]) -> None:
    scorer = tiny.hps()
    white = scorer.transform(torch.ones(1, 3, *size))[0, 0]
    black_level = scorer.transform(torch.zeros(1, 3, 32, 32))[0, 0, 0, 0]
    rows, columns = (white > black_level).nonzero().unbind(1)
    height, width = (round(side * 32 / max(size)) for side in size)
    assert (rows.min(), rows.max() + 1) == ((32 - height) // 2, (32 - height) // 2 + height)
    assert (columns.min(), columns.max() + 1) == ((32 - width) // 2, (32 - width) // 2 + width)


def test_the_score_is_the_cosine_of_the_embeddings() -> None:
    scorer = tiny.hps()
    pixels = torch.rand(2, 3, 32, 32)
    images, texts = scorer.encode_images(scorer.transform(pixels)), scorer.encode_prompts(["a", "b"])
    torch.testing.assert_close(scorer(pixels, ["a", "b"]), cosine_similarity(images, texts))


def test_the_versions_are_two_terms(checkpoints: Path) -> None:
    names = [HPSv2Scorer.from_pretrained(checkpoints / "hps", version=version).name for version in ("v2.0", "v2.1")]
    assert names == ["hps_v2", "hps_v2.1"]
    with pytest.raises(FergiRewardError, match=r"no HPS 'v3': choose from v2\.0, v2\.1"):
        HPSv2Scorer.from_pretrained(checkpoints / "hps", version="v3")


def test_without_a_file_of_sizes_the_official_ones_hold(checkpoints: Path, tmp_path: Path) -> None:
    (tmp_path / "HPS_v2_compressed.pt").symlink_to(checkpoints / "hps" / "HPS_v2_compressed.pt")
    with pytest.raises(FergiRewardError, match=r"does not fit HPSv2Scorer .*missing: .*another shape"):
        HPSv2Scorer.from_pretrained(tmp_path)
