import json

from PIL import Image

from fergi_reward.trainers.curve import write_reward_curve

REWARDED = {"reward_mean": 1.0, "reward_std": 0.5}
JUDGED = {"judges/clip_mean": 0.3, "judges/clip_std": 0.1}


def height_of(folder, lines):
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_reward_curve(folder / "metrics.jsonl", folder / "curve.png")
    with Image.open(folder / "curve.png") as picture:
        return picture.height


def test_judges_that_are_asked_now_and_then_get_a_panel(tmp_path):
    plain = [{"epoch": epoch, **REWARDED} for epoch in (1, 2)]
    judged = [{"epoch": 0, **JUDGED}, plain[0], {**plain[1], **JUDGED}]
    assert height_of(tmp_path, judged) > height_of(tmp_path, plain)
