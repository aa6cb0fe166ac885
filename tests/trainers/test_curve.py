import json

import pytest
from PIL import Image

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.trainers.curve import write_reward_curve

pytest.importorskip("matplotlib", reason="plots come with the extra report")

REWARDED = {"reward_mean": 1.0, "reward_std": 0.5}
JUDGED = {"judges/clip_mean": 0.3, "judges/clip_std": 0.1}


def height_of(folder, lines):
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_reward_curve(folder / "metrics.jsonl", folder)
    with Image.open(folder / "reward_curve.png") as picture:
        return picture.height


def test_judges_that_are_asked_now_and_then_get_a_panel(tmp_path):
    plain = [{"epoch": epoch, **REWARDED} for epoch in (1, 2)]
    judged = [{"epoch": 0, **JUDGED}, plain[0], {**plain[1], **JUDGED}]
    assert height_of(tmp_path, judged) > height_of(tmp_path, plain)


def test_an_epoch_whose_reward_was_not_finite_has_no_point(tmp_path):
    lines = [{"epoch": 1, **REWARDED}, {"epoch": 2, "reward_mean": None, "reward_std": None}]
    assert height_of(tmp_path, lines) == height_of(tmp_path, lines[:1])


@pytest.mark.parametrize(
    "text", ["[1]", "{", '{"reward_mean": 1}', '{"epoch": ' + "9" * 400 + "}", "[" * 9999, "\ud800"]
)
def test_what_are_no_metrics_is_one_sentence(tmp_path, text):
    (tmp_path / "metrics.jsonl").write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(FergiRewardError, match="cannot read the metrics"):
        write_reward_curve(tmp_path / "metrics.jsonl", tmp_path)
