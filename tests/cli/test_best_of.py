import csv
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from fergi_reward.best_of import best_of_n
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.diffusion.rendering import render
from fergi_reward.files.locks import owned
from fergi_reward.images import to_pixels
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.registry import load_scorer
from fergi_reward.toy import emoji, tiny
from fergi_reward.trainers.lora import add_lora, save_lora
from tests.command_line import invoke

PROMPTS = ["a apple on a green background", "a cat on a red background", "a house on a white background"]
QUICK = {"num_inference_steps": 2, "guidance_scale": 1.0}


@pytest.fixture(scope="module")
def pipeline():
    return emoji.load_pipeline()


@pytest.fixture(scope="module")
def reward():
    return CombinedReward(emoji.load_scorers(), Calibration.load(emoji.CALIBRATION))


def brightness(pixels, prompts):
    return pixels.mean((1, 2, 3))


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_the_chosen_picture_is_the_brightest_of_those_its_seeds_draw(pipeline, batch_size):
    best = best_of_n(pipeline, PROMPTS, brightness, 3, seed=1, batch_size=batch_size, **QUICK)
    for row, prompt in enumerate(PROMPTS):
        drawn = render(pipeline, [prompt] * 3, best.seeds[row], **QUICK)
        torch.testing.assert_close(best.scores[row], brightness(drawn, prompt), rtol=0, atol=1e-4)
        torch.testing.assert_close(best.pixels[row], drawn[best.chosen[row]], rtol=0, atol=1e-3)
        assert best.chosen[row] == best.scores[row].argmax()
    assert best.terms == {}
    assert len({seed for seeds in best.seeds for seed in seeds}) == 9


def test_more_candidates_begin_with_the_same_ones_and_the_best_never_gets_worse(pipeline, reward):
    few, many = (best_of_n(pipeline, PROMPTS, reward, n, **QUICK) for n in (2, 4))
    assert [seeds[:2] for seeds in many.seeds] == few.seeds
    torch.testing.assert_close(many.scores[:, :2], few.scores, rtol=0, atol=1e-3)
    assert (many.scores.amax(dim=1) >= few.scores.amax(dim=1) - 1e-3).all()
    assert set(many.terms) == set(emoji.SCORERS)
    assert many.terms["pickscore"].shape == (3, 4)


def test_it_takes_flow_matching_pipelines():
    best = best_of_n(tiny.stable_diffusion_3(), ["a cat"], brightness, 2, num_inference_steps=2)
    assert best.pixels.shape == (1, 3, 64, 64)


@pytest.mark.parametrize(
    ("prompts", "n", "message"), [([], 1, "there is no prompt"), (PROMPTS, 0, "n is 0 and batch_size 8")]
)
def test_what_cannot_be_drawn(pipeline, prompts, n, message):
    with pytest.raises(FergiRewardError, match=message):
        best_of_n(pipeline, prompts, brightness, n)


OPTIONS = ["--model", "emoji", "--n", "3", "--steps", "2", "--guidance-scale", "1", "--batch-size", "2"]


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join([*PROMPTS, "a dog on a blue background"]) + "\n")
    return path


def best_of(*arguments):
    return invoke(["best-of", *map(str, arguments)])


def rows_of(folder):
    with (folder / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_command_writes_pictures_scores_and_an_overview(prompts, reward, tmp_path):
    result = best_of("--prompts", prompts, *OPTIONS, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    rows = rows_of(tmp_path / "out")
    assert len(rows) == 12
    assert [row["candidate"] for row in rows[:3]] == ["0", "1", "2"]
    for start in range(0, 12, 3):
        group = rows[start : start + 3]
        best, worst = (pick(group, key=lambda row: float(row["reward"])) for pick in (max, min))
        assert [row["chosen"] == "True" for row in group] == [row is best for row in group]
        for kind, row in (("best", best), ("worst", worst)):  # the picture that was written has the score in the table
            with Image.open(tmp_path / "out" / kind / row["picture"]) as picture:
                output = reward(to_pixels(picture)[None], row["prompt"])
            assert output.total.item() == pytest.approx(float(row["reward"]), abs=1e-3)
            assert output.terms["pickscore"].item() == pytest.approx(float(row["pickscore"]), abs=1e-2)
    assert rows[3]["picture"] == "0002_a-cat-on-a-red-background.png"
    single = sum(float(row["reward"]) for row in rows) / 12
    assert f"mean reward over 4 prompts: {single:.3f} of one picture" in result.stdout
    assert "(log-odds: of two pictures of a prompt, 73 of 100 people" in result.stdout
    with Image.open(tmp_path / "out" / "best_and_worst.png") as picture:
        assert picture.width == 4 * 224


def test_a_killed_run_resumes_and_ends_as_if_it_had_not_been(prompts, forked, tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    begun = forked(["-m", "fergi_reward", "best-of", "--prompts", prompts, *OPTIONS, "--out", killed])
    begun.kill_once(lambda: any(path.stat().st_size for path in killed.glob(".journal/*.lines")))
    assert not (killed / "scores.csv").exists()
    assert best_of("--prompts", prompts, *OPTIONS, "--out", killed).exit_code == 0
    assert best_of("--prompts", prompts, *OPTIONS, "--out", whole).exit_code == 0
    assert contents(killed) == contents(whole)


class Killed(BaseException):
    pass


def test_a_picture_that_was_written_right_before_a_kill_does_not_outlive_its_prompt(prompts, tmp_path, monkeypatch):
    out, replace = tmp_path / "killed", Path.replace

    def dies_at_the_worst(self, target):
        if Path(target).parent.name == "worst":
            raise Killed
        return replace(self, target)

    with monkeypatch.context() as kill:
        kill.setattr(Path, "replace", dies_at_the_worst)
        with pytest.raises(Killed):
            best_of("--prompts", prompts, *OPTIONS, "--out", out)
    assert len(list(out.glob("best/*.png"))) == 1
    prompts.write_text("a house on a white background\n")
    for place in (out, tmp_path / "whole"):
        assert best_of("--prompts", prompts, *OPTIONS, "--out", place).exit_code == 0
    assert contents(out) == contents(tmp_path / "whole")


def contents(folder):
    """All that is visible in a folder of results."""
    files = [path for path in folder.rglob("*") if path.is_file() and "/." not in f"/{path.relative_to(folder)}"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def other_calibration(world):
    text = (world / "weights.json").read_text()
    (world / "weights.json").write_text(text.replace('"weight": 0.', '"weight": -1.'))


def other_adapter(world):
    shutil.rmtree(world / "lora")
    save_adapter(world / "lora", 0.2)


def other_pipeline(world):
    pipeline = emoji.load_pipeline()
    for parameter in pipeline.unet.parameters():
        parameter.data *= 0.97
    pipeline.save_pretrained(world / "pipeline")


def other_checkpoint(world):
    scorer = load_scorer("pickscore", world / "pickscore")
    scorer.model.logit_scale.data += 0.1
    save_file(scorer.model.state_dict(), world / "pickscore" / "model.safetensors")


def other_prompts(world):
    first, *_ = (world / "prompts.txt").read_text().splitlines()
    (world / "prompts.txt").write_text("\n".join([first, "a dog on a red background"]))


def save_adapter(folder, size):
    pipeline = emoji.load_pipeline()
    for parameter in add_lora(pipeline, rank=2, alpha=2, seed=0):
        parameter.data += size
    save_lora(pipeline, folder)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """All that `best-of` is given, in one folder, and what it then makes of it in `out`."""
    world = tmp_path_factory.mktemp("inputs")
    shutil.copytree(emoji.DATA / "pipeline", world / "pipeline")
    shutil.copytree(emoji.checkpoints()["pickscore"], world / "pickscore")
    shutil.copy(emoji.CALIBRATION, world / "weights.json")
    save_adapter(world / "lora", 0.1)
    (world / "prompts.txt").write_text("\n".join(PROMPTS))
    assert draw(world, world / "out").exit_code == 0
    return world


def draw(world, out):
    given = {name: world / file for name, file in [("--model", "pipeline"), ("--lora", "lora")]}
    given |= {"--prompts": world / "prompts.txt", "--calibration": world / "weights.json", "--out": out}
    given |= {"--scorers": "pickscore", "--checkpoint": f"pickscore={world / 'pickscore'}"}
    options = [text for pair in given.items() for text in pair]
    return best_of(*options, "--n", 2, "--steps", 1, "--guidance-scale", 1, "--batch-size", 3)


@pytest.mark.parametrize(
    "change",
    [other_calibration, other_adapter, other_pipeline, other_checkpoint, other_prompts],
    ids=lambda change: change.__name__,
)
def test_what_is_under_the_same_path_is_known_by_its_content(inputs, tmp_path, change):
    world = shutil.copytree(inputs, tmp_path / "world")
    before = contents(world / "out")
    change(world)
    assert draw(world, world / "out").exit_code == 0
    assert draw(world, tmp_path / "whole").exit_code == 0
    assert contents(world / "out") == contents(tmp_path / "whole") != before


def test_a_run_with_other_options_says_whose_pictures_it_replaces(inputs, tmp_path):
    world = shutil.copytree(inputs, tmp_path / "world")
    assert "replaced" not in draw(world, world / "out").stderr
    (world / "prompts.txt").write_text("\n".join([*PROMPTS[:2], "a dog on a red background"]))
    assert "an earlier run's pictures of 2 prompts were replaced" in draw(world, world / "out").stderr


def test_results_that_were_deleted_or_altered_are_written_again(inputs, tmp_path):
    world = shutil.copytree(inputs, tmp_path / "world")
    pictures = sorted((world / "out" / "best").iterdir())
    pictures[0].unlink()
    Image.new("RGB", (32, 32)).save(pictures[1])
    assert draw(world, world / "out").exit_code == 0
    assert contents(world / "out") == contents(inputs / "out")


def test_nothing_is_drawn_twice(inputs, tmp_path, monkeypatch):
    world = shutil.copytree(inputs, tmp_path / "world")
    monkeypatch.setattr("fergi_reward.bulk.best_of._draw", None)
    assert draw(world, world / "out").exit_code == 0


def test_a_second_run_on_one_output_is_refused(inputs):
    with owned(inputs / "out"):
        refused = draw(inputs, inputs / "out")
    assert refused.exit_code == 2 and "is writing" in refused.stderr


def test_an_adapter_changes_the_pictures_and_one_of_another_model_is_refused(prompts, tmp_path):
    pipeline = tiny.stable_diffusion()
    for parameter in add_lora(pipeline, rank=2, alpha=2, seed=0):
        parameter.data += 0.3
    save_lora(pipeline, tmp_path / "lora")
    options = ["--prompts", prompts, "--scorers", "pickscore", "--n", "1", "--steps", "2"]
    assert best_of(*options, "--model", "tiny", "--out", tmp_path / "plain").exit_code == 0
    lora = ["--lora", tmp_path / "lora", "--out", tmp_path / "adapted"]
    assert best_of(*options, "--model", "tiny", *lora).exit_code == 0
    assert rows_of(tmp_path / "plain")[0]["reward"] != rows_of(tmp_path / "adapted")[0]["reward"]
    refused = best_of(*options, "--model", "tiny_3", "--lora", tmp_path / "lora", "--out", tmp_path / "other")
    assert refused.exit_code == 2
    assert "holds no adapter of this pipeline" in refused.stderr


def test_disagreement_costs_what_the_penalty_says_also_where_the_pictures_are_there(prompts, tmp_path):
    options = ["--prompts", prompts, *OPTIONS, "--out", tmp_path / "out"]
    assert best_of(*options).exit_code == 0
    plain = rows_of(tmp_path / "out")
    assert best_of(*options, "--uncertainty-penalty", "2").exit_code == 0
    for before, now in zip(plain, rows_of(tmp_path / "out"), strict=True):
        expected = float(before["reward"]) - 2 * float(now["disagreement"])
        assert float(now["reward"]) == pytest.approx(expected, abs=1e-4)


MISTAKES = {
    "nowhere.txt cannot be read": ["--prompts", "nowhere.txt"],
    "the adapter nowhere does not exist": ["--lora", "nowhere"],
    "--device nonsense cannot be used": ["--device", "nonsense"],
    "checkpoints is 'clip', must be NAME=VALUE": ["--checkpoint", "clip"],
    "the calibration has no weights for the terms clip": ["--scorers", "clip"],
    "there is no calibration file nowhere.json": ["--calibration", "nowhere.json"],
}


def test_mistakes_are_one_sentence_and_do_not_bind_the_next_run(prompts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--prompts", prompts, "--model", "tiny", "--scorers", "pickscore", "--n", "1", "--steps", "1"]
    for message, change in MISTAKES.items():
        result = best_of(*options, *change)
        assert result.exit_code == 2, result.output
        assert message in result.stderr
    again = best_of(*options)
    assert again.exit_code == 0, again.output
