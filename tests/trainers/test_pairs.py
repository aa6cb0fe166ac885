import io

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.trainers.pairs import (
    TIES,
    UNCAPTIONED,
    UNLABELLED,
    Pair,
    Pairs,
    PairTable,
    frame,
    load_table,
    read_row,
)

ROWS = 23


def picture(colour="red", size=(40, 30)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def row(number, label=1.0, **more):
    return {"caption": str(number), "jpg_0": picture("red"), "jpg_1": picture("blue"), "label_0": label, **more}


@pytest.fixture
def parquet(tmp_path):
    """A folder of two shards, as the hub has them."""
    for shard, numbers in enumerate((range(10), range(10, ROWS))):
        path = tmp_path / "pairs" / "data" / f"train-{shard:05d}-of-00002.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame([row(number) for number in numbers]).to_parquet(path)
    return tmp_path / "pairs"


def captions(pairs, count):
    return [int(pair.caption) for pair in pairs.take(count)]


def pairs_of(rows, seed=0):
    return Pairs(PairTable(rows, "test"), seed=seed, shuffle_buffer=8)


@pytest.mark.parametrize(
    ("label", "better", "worse"), [(1, b"first", b"second"), (0.0, b"second", b"first"), (1.0, b"first", b"second")]
)
def test_the_label_says_which_picture_is_better(label, better, worse):
    read = read_row({"caption": "a cat", "jpg_0": b"first", "jpg_1": b"second", "label_0": label, "confidence": 0.7})
    assert read == Pair("a cat", better, worse, 0.7)


@pytest.mark.parametrize("caption", [None, float("nan"), " "])
def test_a_pair_without_a_caption_is_skipped_and_counted_not_trained_as_none(caption):
    pairs = pairs_of([row(0), row(1) | {"caption": caption}])
    assert {pair.caption for pair in pairs.take(4)} == {"0"}
    assert pairs.skipped[UNCAPTIONED] >= 1
    with pytest.raises(FergiRewardError, match="has the caption 7: it must be a text"):
        read_row(row(0) | {"caption": 7})


@pytest.mark.parametrize(("label", "reason"), [(0.5, TIES), (None, UNLABELLED), (float("nan"), UNLABELLED)])
def test_rows_that_say_nothing(label, reason):
    assert read_row(row(0, label)) == reason


@pytest.mark.parametrize("wrong", [{"label_0": 2}, {"label_0": "first"}, {"confidence": 1.5}])
def test_values_that_cannot_be(wrong):
    with pytest.raises(FergiRewardError, match=f"the {next(iter(wrong))} .* must be a number from 0 to 1"):
        read_row(row(0) | wrong)


@pytest.mark.parametrize("streaming", [False, True])
def test_every_pass_has_every_pair_once_in_an_order_of_its_own(parquet, streaming):
    pairs = pairs_of(load_table(str(parquet), streaming=streaming).rows)
    first, second = captions(pairs, ROWS), captions(pairs, ROWS)
    assert sorted(first) == sorted(second) == list(range(ROWS))
    assert first != second
    assert first != list(range(ROWS))
    assert first == captions(pairs_of(load_table(str(parquet), streaming=streaming).rows), ROWS)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("taken", [0, 5, 8, ROWS, ROWS + 3])
def test_a_resumed_order_continues_where_it_was(parquet, streaming, taken):
    def fresh():
        return pairs_of(load_table(str(parquet), streaming=streaming).rows)

    old, new = fresh(), fresh()
    old.take(taken)
    new.load_state_dict(old.state_dict())
    assert new.taken == taken
    assert captions(new, 2 * ROWS) == captions(old, 2 * ROWS)


@pytest.mark.parametrize("size", [3, 100])
def test_a_block_of_a_stream_is_finished_at_the_size_it_was_begun_at(parquet, size):
    def fresh(size):
        table = PairTable(load_table(str(parquet), streaming=True).rows, "test")
        return Pairs(table, seed=0, shuffle_buffer=size)

    old, new = fresh(8), fresh(size)
    old.take(13)
    new.load_state_dict(old.state_dict())
    assert captions(new, 3) == captions(old, 3)
    left = set(range(ROWS)) - set(captions(fresh(8), 16))
    assert set(captions(new, len(left))) == left


def test_ties_are_skipped_and_counted():
    pairs = pairs_of([row(number, (1, 0.5, None)[number % 3]) for number in range(9)])
    pairs.take(3 * 4)
    # Four passes; of the last, rows after its third pair are not read yet.
    assert 9 <= pairs.skipped[TIES] <= 12
    assert 9 <= pairs.skipped[UNLABELLED] <= 12
    with pytest.raises(FergiRewardError, match="no row of the pairs 'test' says which picture is better"):
        pairs_of([row(0, 0.5)]).take(1)


@pytest.mark.parametrize("streaming", [False, True])
def test_the_first_pairs_are_none_twice(parquet, streaming):
    pairs = pairs_of(load_table(str(parquet), streaming=streaming).rows)
    assert sorted(int(pair.caption) for pair in pairs.first(100)) == list(range(ROWS))
    assert len(pairs_of(load_table(str(parquet), streaming=streaming).rows).first(5)) == 5


@pytest.mark.parametrize("streaming", [False, True])
def test_pictures_that_datasets_knows_as_such_stay_encoded_and_may_be_damaged(tmp_path, streaming):
    features = datasets.Features(
        {"caption": datasets.Value("string"), "label_0": datasets.Value("float64")}
        | {name: datasets.Image() for name in ("jpg_0", "jpg_1")}
    )
    rows = [row(0), row(1) | {"jpg_1": b"no picture"}]
    table = datasets.Dataset.from_list(rows, features=features)
    table.to_parquet(str(tmp_path / "pairs.parquet"))
    pairs = pairs_of(load_table(str(tmp_path / "pairs.parquet"), streaming=streaming).rows).take(2)
    good, damaged = sorted(pairs, key=lambda pair: pair.caption)
    assert frame(good.better, 8, 8).pixels[0].min() == 1
    with pytest.raises(FergiRewardError, match="cannot"):
        frame(damaged.worse, 8, 8)


def test_a_folder_saved_to_disk(tmp_path):
    datasets.Dataset.from_list([row(0)]).save_to_disk(str(tmp_path / "saved"))
    assert pairs_of(load_table(str(tmp_path / "saved")).rows).take(1)[0].caption == "0"


def test_what_cannot_be_read_is_said_in_a_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FergiRewardError, match=r"cannot read the pairs '.*empty': give a folder"):
        load_table(str(tmp_path / "empty"))
    with pytest.raises(FergiRewardError, match=r"there is no file .*nowhere.parquet: give a folder"):
        load_table(str(tmp_path / "nowhere.parquet"))
    pd.DataFrame({"caption": ["a"], "jpg_0": [b""]}).to_parquet(tmp_path / "pairs.parquet")
    with pytest.raises(FergiRewardError, match="lack jpg_1, label_0"):
        load_table(str(tmp_path / "pairs.parquet"))


def test_a_picture_is_cut_around_its_centre():
    # Three stripes; the frame keeps the middle one, of the resized width 12 the columns 4 to 7.
    stripes = np.zeros((10, 30, 3), np.uint8)
    stripes[:, 10:20] = 255
    framed = frame(Image.fromarray(stripes), 4, 4)
    assert framed.pixels.shape == (3, 4, 4)
    assert framed.pixels[:, :, 1:3].min() > 0.9
    assert (framed.size, framed.corner) == ((10, 30), (0, 4))
    upright = frame(Image.fromarray(stripes.transpose(1, 0, 2)), 4, 4)
    assert (upright.size, upright.corner) == ((30, 10), (4, 0))
    assert torch.equal(upright.pixels, framed.pixels.transpose(1, 2))


def test_a_flipped_picture_is_the_other_way_round_and_keeps_what_was_cut():
    pixels = np.random.default_rng(0).integers(0, 256, (10, 31, 3), np.uint8)
    mirrored, flipped = (
        frame(Image.fromarray(pixels[:, ::-1]), 4, 4),
        frame(Image.fromarray(pixels), 4, 4, flipped=True),
    )
    torch.testing.assert_close(flipped.pixels, mirrored.pixels, atol=1 / 255, rtol=0)
    assert (flipped.size, flipped.corner) == (mirrored.size, mirrored.corner)


def test_a_small_picture_is_enlarged_and_a_grey_one_gets_colours():
    framed = frame(Image.new("L", (2, 3), 51), 8, 8)
    torch.testing.assert_close(framed.pixels, torch.full((3, 8, 8), 0.2))


def test_a_damaged_page_of_a_stream_is_one_sentence(tmp_path):
    path = tmp_path / "pairs.parquet"
    pd.DataFrame([row(number) for number in range(4)]).to_parquet(path)
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"\xff" * 60 + content[64:])  # the footer, which is read first, is whole
    pairs = pairs_of(load_table(str(path), streaming=True).rows)
    with pytest.raises(FergiRewardError, match="cannot read a row of the pairs"):
        pairs.take(1)
