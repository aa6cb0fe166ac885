"""Benchmarks in the exact layouts of the hub, with pictures of the emoji world and made-up people who see its truth."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fergi_reward.toy.emoji.viewers import draw_exhibits

# The card of yuvalkirstain/pickapic_v2: `datasets` reads the types from it.
CARD = """---
dataset_info:
  features:
{features}
  splits:
  - name: validation_unique
    num_bytes: 1
    num_examples: {validation}
  - name: test_unique
    num_bytes: 1
    num_examples: {test}
  download_size: 1
  dataset_size: 2
---
"""
TYPES = {
    **{"are_different": "bool", "best_image_uid": "string", "caption": "string", "created_at": "timestamp[ns]"},
    **{"has_label": "bool", "image_0_uid": "string", "image_0_url": "string", "image_1_uid": "string"},
    **{"image_1_url": "string", "jpg_0": "binary", "jpg_1": "binary", "label_0": "float64", "label_1": "float64"},
    **{"model_0": "string", "model_1": "string", "ranking_id": "int64", "user_id": "int64"},
    **{"num_example_per_prompt": "int64", "__index_level_0__": "int64"},
}


@dataclass(frozen=True)
class Exhibit:
    """Five pictures of a caption, best first by the truth of the world."""

    caption: str
    pictures: list[bytes]


@pytest.fixture(scope="session")
def exhibits() -> list[Exhibit]:
    """Thirty captions."""
    drawn = draw_exhibits(30, torch.Generator().manual_seed(0))
    quality = (drawn.alignment + drawn.fidelity).reshape(-1, 5)
    pixels = (drawn.pixels * 255).byte().permute(0, 2, 3, 1).numpy().reshape(-1, 5, 32, 32, 3)
    return [
        Exhibit(drawn.captions[5 * number], [_encoded(pixels[number, place]) for place in np.argsort(-truth)])
        for number, truth in enumerate(quality)
    ]


def _encoded(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _choice(number: int, caption: str, jpgs: tuple[bytes | None, bytes | None], label: float) -> dict:
    """A row of Pick-a-Pic."""
    values = dict.fromkeys(TYPES, "x") | {"caption": caption, "jpg_0": jpgs[0], "jpg_1": jpgs[1]}
    values |= {"are_different": True, "has_label": True, "created_at": pd.Timestamp(0)}
    values |= {"image_0_uid": f"{number}-0", "image_1_uid": f"{number}-1", "label_0": label, "label_1": 1 - label}
    return values | dict.fromkeys(("ranking_id", "user_id", "num_example_per_prompt", "__index_level_0__"), number)


def _write_pickapic(folder: Path, test: list[dict], validation: list[dict]) -> Path:
    """The folder, with the card and a Parquet file per split."""
    (folder / "data").mkdir(parents=True)
    features = "\n".join(f"  - name: {name}\n    dtype: {kind}" for name, kind in TYPES.items())
    card = CARD.format(features=features, test=len(test), validation=len(validation))
    (folder / "README.md").write_text(card)
    for split, rows in {"test_unique": test, "validation_unique": validation}.items():
        if rows:
            file = folder / "data" / f"{split}-00000-of-00001-0123456789abcdef.parquet"
            pd.DataFrame(rows, columns=list(TYPES)).to_parquet(file, index=False, row_group_size=4)
    return folder


@pytest.fixture
def choice() -> Callable[..., dict]:
    """Makes a row of Pick-a-Pic."""
    return _choice


@pytest.fixture
def write_pickapic() -> Callable[..., Path]:
    """Writes a folder in the layout of Pick-a-Pic."""
    return _write_pickapic


@pytest.fixture
def pickapic_folder(exhibits: list[Exhibit], tmp_path: Path) -> Path:
    """22 choices to judge (a tie, one without a label, one with a broken picture) and 8 to choose a threshold on."""
    sides = [(each.pictures[0], each.pictures[-1]) for each in exhibits]
    rows = [
        _choice(number, each.caption, pair if number % 2 else pair[::-1], float(number % 2))
        for number, (each, pair) in enumerate(zip(exhibits, sides, strict=True))
    ]
    rows[3] |= {"label_0": 0.5, "label_1": 0.5}
    rows[5] |= {"has_label": False}
    rows[7] |= {"jpg_1": rows[7]["jpg_1"][:60]}
    return _write_pickapic(tmp_path / "pickapic", rows[:22], rows[22:])


@pytest.fixture
def hpdv2_folder(exhibits: list[Exhibit], tmp_path: Path) -> Path:
    """Six prompts: one with a tie, one with a missing picture, one with a single picture, one without a prompt."""
    folder = tmp_path / "hpdv2"
    (folder / "test").mkdir(parents=True)
    entries = []
    for number, each in enumerate(exhibits[:6]):
        names = [f"{number:05d}_{place}.jpg" for place in range(5)]
        for name, picture in zip(names, each.pictures, strict=True):
            (folder / "test" / name).write_bytes(picture)
        raw = [{"rank": list(range(5)), "user_hash": "00"}]
        entries.append({"prompt": each.caption, "image_path": names, "rank": list(range(5)), "raw_annotations": raw})
    entries[0]["rank"] = [0, 1, 1, 3, 4]
    (folder / "test" / entries[1]["image_path"][2]).unlink()
    entries[2] |= {"image_path": entries[2]["image_path"][:1], "rank": [0]}
    entries[3]["prompt"] = ""
    (folder / "test.json").write_text(json.dumps(entries))
    return folder


@pytest.fixture
def imagerewarddb_folder(exhibits: list[Exhibit], tmp_path: Path) -> Path:
    """Four prompts in two archives, as on the hub; one has a tie, one a broken picture."""
    folder = tmp_path / "imagerewarddb"
    rows = []
    for number, each in enumerate(exhibits[:4]):
        part = folder / "images" / "test" / f"test_{1 + number % 2}"
        part.mkdir(parents=True, exist_ok=True)
        for place, picture in enumerate(each.pictures):
            (part / f"{number}-{place}.webp").write_bytes(picture if (number, place) != (2, 4) else b"RIFF")
            path = (part / f"{number}-{place}.webp").relative_to(folder).as_posix()
            rows.append([path, f"00{number}-0061", each.caption, "People", 9, place + 1, 4, 3, 4])
    names = ["image_path", "prompt_id", "prompt", "classification", "image_amount_in_total", "rank", "overall_rating"]
    table = pd.DataFrame(rows, columns=[*names, "image_text_alignment_rating", "fidelity_rating"])
    table.loc[1, "rank"] = 1
    table.sample(frac=1, random_state=0).to_parquet(folder / "metadata-test.parquet")
    for part in sorted((folder / "images" / "test").iterdir()):
        with zipfile.ZipFile(part.with_suffix(".zip"), "w") as archive:
            for picture in sorted(part.iterdir()):
                archive.write(picture, picture.name)
        shutil.rmtree(part)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Archives are unpacked into a cache of the test's own."""
    monkeypatch.setattr("datasets.config.DOWNLOADED_DATASETS_PATH", tmp_path / "downloads")
    monkeypatch.setattr("datasets.config.EXTRACTED_DATASETS_PATH", tmp_path / "extracted")
