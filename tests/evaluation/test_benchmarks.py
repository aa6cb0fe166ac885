"""Benchmarks are read from the layouts of the hub, and what cannot be used is counted."""

import json
import shutil
import tarfile
import zipfile
from dataclasses import replace

import datasets
import numpy as np
import pandas as pd
import pytest

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.pair_sketch import PairSketch
from fergi_reward.evaluation.benchmark_margins import hashes_of
from fergi_reward.evaluation.benchmarks import hpdv2, imagerewarddb, pickapic, read_benchmark
from fergi_reward.evaluation.benchmarks.place import Place
from fergi_reward.evaluation.benchmarks.rankings import Judged
from fergi_reward.evaluation.judged_scores import of_benchmark
from fergi_reward.evaluation.options import CalibrateOptions
from fergi_reward.evaluation.ranked_pairs import ranked_pairs
from fergi_reward.images import open_picture


def judged(margins, units, tied=(), tied_units=()):
    return Judged(np.array(margins, float), np.array(units), np.array(tied, float), np.array(tied_units, dtype=str))


def excluded(benchmark):
    return {(each.what, each.reason): each.count for each in benchmark.exclusions}


def readable(benchmark):
    """The pictures of all rows, by number, None where there is none; rows come in the order of the numbers."""
    found = {}
    for row in benchmark.rows():
        try:
            found[row.number] = open_picture(row.source).tobytes()
        except FergiRewardError:
            found[row.number] = None
    assert list(found) == list(range(len(benchmark.numbers)))
    return found


def test_pick_a_pic(pickapic_folder):
    benchmark = pickapic.read(str(pickapic_folder))
    assert [len(benchmark.rankings), len(benchmark.tuning)] == [21, 8]
    assert benchmark.rankings[0].ranks == (2.0, 1.0) and benchmark.rankings[1].ranks == (1.0, 2.0)
    assert benchmark.rankings[3].ranks == (1.0, 1.0)
    assert excluded(benchmark) == {("rankings", "not a rank for each image"): 1}
    pictures = readable(benchmark)
    assert [image for (image, _), number in benchmark.numbers.items() if pictures[number] is None] == ["7-1"]
    rows = pd.read_parquet(next((pickapic_folder / "data").glob("test_unique-*")))
    assert pictures[0] == open_picture(rows["jpg_0"][0]).tobytes()


def test_an_image_of_many_choices_is_one_row_in_whatever_order_they_come(exhibits, choice, write_pickapic, tmp_path):
    one = exhibits[0]
    rows = [choice(number, one.caption, tuple(one.pictures[:2]), 1.0) for number in range(4)]
    rows[0] |= {"has_label": False, "image_0_uid": "b"}  # seen first in a choice that does not count
    rows[1] |= {"image_0_uid": "a", "image_1_uid": "b"}
    rows[2] |= {"image_0_uid": "b", "image_1_uid": "a"}
    rows[3] |= {"image_0_uid": "b", "image_1_uid": "b"}
    benchmark = pickapic.read(str(write_pickapic(tmp_path / "many", rows, [])))
    assert list(benchmark.numbers) == [("a", one.caption), ("b", one.caption)]
    assert len(readable(benchmark)) == 2
    assert excluded(benchmark)[("rankings", "an image twice")] == 1
    assert benchmark.as_published(judged([1.0], ["p"]), judged([], [])) is None


def test_hpd_v2_unpacked_and_packed(hpdv2_folder, tmp_path):
    benchmark = read_benchmark("hpdv2", str(hpdv2_folder))
    assert [len(ranking.images) for ranking in benchmark.rankings] == [5, 5, 5, 5]
    assert excluded(benchmark) == {("rankings", "fewer than two images"): 1, ("rankings", "no prompt"): 1}
    nameless = next(each for each in benchmark.exclusions if each.reason == "no prompt")
    assert nameless.examples == ("00003_0.jpg",)
    pictures = readable(benchmark)
    assert sum(picture is None for picture in pictures.values()) == 1
    packed = tmp_path / "packed"
    packed.mkdir()
    (hpdv2_folder / "test.json").rename(packed / "test.json")
    with tarfile.open(packed / "test.tar.gz", "w:gz") as archive:
        archive.add(hpdv2_folder / "test", "test")
    assert readable(read_benchmark("hpdv2", str(packed))) == pictures


def test_image_reward_db_packed_and_unpacked(imagerewarddb_folder):
    benchmark = read_benchmark("imagerewarddb", str(imagerewarddb_folder))
    assert [sorted(ranking.ranks) for ranking in benchmark.rankings].count([1.0, 1.0, 3.0, 4.0, 5.0]) == 1
    pictures = readable(benchmark)
    assert sum(picture is None for picture in pictures.values()) == 1
    unpacked = imagerewarddb_folder / "images" / "test"
    for archive in list(unpacked.glob("*.zip")):
        shutil.unpack_archive(archive, archive.with_suffix(""))
        archive.unlink()
    assert readable(read_benchmark("imagerewarddb", str(imagerewarddb_folder))) == pictures


def test_a_table_with_holes(imagerewarddb_folder):
    path = imagerewarddb_folder / "metadata-test.parquet"
    table = pd.read_parquet(path).sort_values("image_path", ignore_index=True).astype({"rank": float})
    table.loc[table["prompt_id"] == "000-0061", "prompt"] = None
    table.loc[table["image_path"].str.endswith("1-2.webp"), "rank"] = np.nan
    table.to_parquet(path)
    found = excluded(read_benchmark("imagerewarddb", str(imagerewarddb_folder)))
    assert found == {("rankings", "no prompt"): 1, ("rankings", "not a rank for each image"): 1}


@pytest.mark.parametrize(
    ("module", "percents"),
    [
        (
            imagerewarddb,
            "aesthetic 57.4 image_reward 65.1 HPS 61.2 pickscore 62.9 hps_v2 65.7 hps_v2.1 66.8 human 65.3",
        ),
        (hpdv2, "aesthetic 76.8 image_reward 74.0 HPS 77.6 pickscore 79.8 hps_v2 83.3 hps_v2.1 84.1 human 78.1"),
        (pickapic, "pickscore 70.2 human 68.0 CLIP-H 60.8"),
    ],
)
def test_figures_are_those_of_the_papers(module, percents):
    words = percents.replace("human", "one-human").split()
    printed = {
        name.replace("one-", "one "): float(percent) for name, percent in zip(words[::2], words[1::2], strict=True)
    }
    assert {name: round(100 * accuracy, 1) for name, accuracy in module.PUBLISHED.items()} == printed


def test_published_rules_by_hand():
    # Prompt a: two of three pairs right and a tie; prompt b: none of one.
    of_two = judged([1, 1, -1, -1], list("aaab"), [0.3], ["a"])
    nothing = judged([], [])
    assert hpdv2.as_published(of_two, nothing) == (3 / 4 + 0) / 2
    assert imagerewarddb.as_published(of_two, nothing) == pytest.approx((2 / 3 + 0) / 2)


def test_a_tie_that_both_call_counts_whole_and_one_that_only_one_calls_half():
    choices = judged([5.0, -0.1, -4.0], list("abc"), [0.2, 3.0], list("de"))
    assert pickapic.accuracy_with_ties(choices, 0.0) == (1 + 0 + 0 + 0.5 + 0.5) / 5
    assert pickapic.accuracy_with_ties(choices, 1.0) == (1 + 0.5 + 0 + 1 + 0.5) / 5
    # The best threshold there is 4: both ties are called, and the wrong order becomes half a point.
    assert pickapic.as_published(choices, choices) == (1 + 0.5 + 0.5 + 1 + 1) / 5
    assert pickapic.as_published(judged([1.0], "a"), judged([-2.0, 3.0], list("ab"))) == 0.5  # 2 on the tuning split


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("hpdv2", "[", "is not JSON"),
        ("hpdv2", "{}", "should hold a list of rankings"),
        ("hpdv2", json.dumps([{"prompt": "a"}]), "needs prompt, image_path and rank"),
        ("hpdv2", json.dumps([{"prompt": "a", "image_path": ["x", "y"], "rank": [1, "no"]}]), "needs prompt"),
        ("hpdv2", json.dumps([{"prompt": "a", "image_path": ["x", "../y"], "rank": [1, 2]}]), "'../y', outside of it"),
        ("hpdv2", json.dumps([{"prompt": "a", "image_path": ["/etc/x", "y"], "rank": [1, 2]}]), "'/etc/x', outside"),
        ("hpdv2", None, "has no test.json"),
        ("imagerewarddb", "no table", "cannot be read as a table with the columns image_path"),
        ("imagerewarddb", None, "has no metadata-test.parquet"),
        ("pickapic", None, "needs data/SPLIT-"),
        ("pickapic", "PAR1 damaged", r"cannot be read as Pick-a-Pic \(Parquet magic bytes"),
    ],
)
def test_folders_that_are_something_else(tmp_path, name, content, message):
    files = {"hpdv2": "test.json", "imagerewarddb": "metadata-test.parquet", "pickapic": "data/test_unique-0.parquet"}
    (tmp_path / "data").mkdir()
    if content is not None:
        (tmp_path / files[name]).write_text(content)
    with pytest.raises(FergiRewardError, match=message):
        read_benchmark(name, str(tmp_path))


def test_an_archive_that_would_fill_the_disk_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.DownloadManager, "extract", lambda *_: pytest.fail("unpacked"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as packed, packed.open("0.webp", "w") as file:
        for _ in range(257):
            file.write(bytes(1 << 20))
    with pytest.raises(FergiRewardError, match=r"a.zip .it unpacks to more than 268,435,456 bytes"):
        Place(str(tmp_path)).unpacked("a.zip")


def test_other_mistakes(pickapic_folder, hpdv2_folder):
    with pytest.raises(FergiRewardError, match=r"has no split test, it has .*test_unique"):
        read_benchmark("pickapic_test", str(pickapic_folder))
    with pytest.raises(FergiRewardError, match="neither a folder nor a hub id"):
        read_benchmark("hpdv2", "no/such/folder")
    (hpdv2_folder / "test").rename(hpdv2_folder / "elsewhere")
    (hpdv2_folder / "test.tar.gz").write_bytes(b"\x1f\x8b damaged")
    with pytest.raises(FergiRewardError, match="cannot unpack"):
        list(read_benchmark("hpdv2", str(hpdv2_folder)).rows())


@pytest.mark.parametrize("name", ["hpdv2", "pickapic"])
def test_a_fit_on_a_benchmark_is_recognised_when_it_is_judged_there(name, request):
    """By both ways to read it: as judgements, and as rankings."""
    place = str(request.getfixturevalue(f"{name}_folder"))
    benchmark = replace(read_benchmark(name, place), tuning=())
    judgements = of_benchmark(benchmark, CalibrateOptions(judgements=name, data=place)).judgements
    ranked = ranked_pairs(benchmark, benchmark.rankings, np.ones(len(benchmark.numbers), dtype=bool))
    hashes = hashes_of(benchmark, ranked)
    assert PairSketch.of(judgements.pair_hashes()).overlap(hashes).share == 1 and len(hashes) > 9
