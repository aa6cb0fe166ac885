import json

import numpy as np
import pytest

from fergi_reward.calibration.calibration import Calibration
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.pair_sketch import KEPT, Overlap, PairSketch, pair_hashes


def hashes(first, after):
    """Hashes of the pairs of a prompt whose number is in a range."""
    pictures = [("a cat", str(number)) for number in range(after + 1)]
    return pair_hashes(pictures, range(first, after), range(first + 1, after + 1))


def test_few_pairs_are_compared_exactly_and_equal_ones_count_once():
    sketch = PairSketch.of(np.tile(hashes(0, KEPT), 2))
    assert sketch.pairs == KEPT
    assert sketch.overlap(np.tile(hashes(KEPT - 30, KEPT + 70), 3)) == Overlap(30, 100, True)
    assert sketch.overlap(hashes(KEPT, KEPT + 9)).share == 0


@pytest.mark.parametrize("known", [0, 2_000, 10_000, 20_000])
def test_of_many_pairs_the_share_is_estimated_as_well_as_its_sample_allows(known):
    fitted, judged = 20_000, 20_000
    overlap = PairSketch.of(hashes(0, fitted)).overlap(hashes(fitted - known, fitted - known + judged))
    share = known / judged
    assert not overlap.is_exact and overlap.compared == pytest.approx(KEPT, rel=0.2)
    assert overlap.share == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / overlap.compared))


def test_the_identity_is_prompt_winner_and_loser():
    pictures = [("cat", "1"), ("cat", "2"), ("dog", "1"), ("dog", "2"), ("cat", "1")]
    found = pair_hashes(pictures, [0, 1, 2, 4], [1, 0, 3, 1]).tolist()
    assert found[0] == found[3] and len({*found}) == 3
    assert found[0] == 0x73E5AF4E798A3F9F  # files that were written must be read for ever


def test_a_file_has_it_and_older_ones_load_with_the_same_fingerprint(tmp_path):
    older = Calibration.shipped()
    record = PairSketch.of(hashes(0, 2 * KEPT)).record()
    older.save(tmp_path / "older.json")
    content = json.loads((tmp_path / "older.json").read_text())
    assert content["fitted_pairs"] is None
    (tmp_path / "new.json").write_text(json.dumps(content | {"fitted_pairs": record}))
    new = Calibration.load(tmp_path / "new.json")
    assert new.fitted_pairs == PairSketch.of(hashes(0, 2 * KEPT)) and new.fingerprint() == older.fingerprint()
    new.save(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text())["fitted_pairs"] == record
    del content["fitted_pairs"]
    (tmp_path / "older.json").write_text(json.dumps(content))
    assert Calibration.load(tmp_path / "older.json") == older


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ([], "fitted_pairs is [], must be a mapping or null"),
        ({"pairs": 1}, "lacks smallest"),
        ({"pairs": -1, "smallest": ""}, "pairs is -1"),
        ({"pairs": 1, "smallest": [1]}, "smallest is [1], must be a text"),
        ({"pairs": 1, "smallest": "x" * 10**6}, "must be hashes of 16 hexadecimal digits"),
        ({"pairs": 1, "smallest": "0" * 17}, "must be hashes of 16 hexadecimal digits"),
        ({"pairs": 1, "smallest": "\u0660" * 16}, "must be hashes of 16 hexadecimal digits"),
        ({"pairs": 2, "smallest": f"{2:016x} {1:016x}"}, "must be rising hashes"),
        ({"pairs": 1, "smallest": f"{1:016x} {2:016x}"}, "it has 2 hashes of 1 pairs"),
        ({"pairs": 9, "smallest": ""}, "it has 0 hashes of 9 pairs"),
    ],
    ids=range(10),
)
def test_a_field_that_nobody_wrote_is_refused_in_one_sentence(record, why, tmp_path):
    Calibration.shipped().save(tmp_path / "c.json")
    content = json.loads((tmp_path / "c.json").read_text())
    (tmp_path / "c.json").write_text(json.dumps(content | {"fitted_pairs": record}))
    with pytest.raises(FergiRewardError) as caught:
        Calibration.load(tmp_path / "c.json")
    assert why in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 1000
