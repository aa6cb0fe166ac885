"""`fergi-reward evaluate models` on the emoji world: its own pipeline, scorers and judge, and adapters made by hand."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fergi_reward.calibration.calibration import Calibration
from fergi_reward.core.seeds import seed_of
from fergi_reward.diffusion.load import load_pipeline
from fergi_reward.diffusion.rendering import render
from fergi_reward.evaluation.compared_model import scale_doubt, tuned_model
from fergi_reward.files.digests import folder_fingerprint
from fergi_reward.files.locks import owned
from fergi_reward.files.prompts import read_prompts
from fergi_reward.images import open_picture, to_pixels
from fergi_reward.reward import CombinedReward
from fergi_reward.scorers.registry import load_scorer
from fergi_reward.toy import emoji, tiny
from fergi_reward.toy.emoji.pictures import HELD_OUT
from fergi_reward.trainers.ddpo import DDPOConfig
from fergi_reward.trainers.lora import add_lora, save_lora
from fergi_reward.trainers.model_card import write_model_card
from tests.command_line import invoke

WEIGHTS = "pytorch_lora_weights.safetensors"
CAPTIONS = [scene.caption for scene in HELD_OUT[:5]]
QUICK = ["--model", "emoji", "--samples", "2", "--steps", "2", "--guidance-scale", "1", "--batch-size", "3"]


def adapter(folder, pipeline, size, base_model=None):
    """A LoRA that moves the network by so much, with the card of a trainer whose reward is PickScore."""
    parameters = add_lora(pipeline, rank=2, alpha=2, seed=0)
    torch.manual_seed(0)
    for parameter in parameters:
        parameter.data += size * torch.randn_like(parameter)
    folder.mkdir(parents=True)
    save_lora(pipeline, folder)
    if base_model:
        pipeline.register_to_config(_name_or_path=base_model)
    reward = CombinedReward(["pickscore"], Calibration.load(emoji.CALIBRATION))
    write_model_card(folder, "DDPOTrainer", DDPOConfig(output_dir=str(folder)), [reward.describe()], pipeline)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two adapters, of which one does nothing, and prompts."""
    place = tmp_path_factory.mktemp("models")
    adapter(place / "moved" / "lora", emoji.load_pipeline(), 0.3)
    adapter(place / "still" / "lora", emoji.load_pipeline(), 0.0)
    (place / "prompts.txt").write_text("\n".join(CAPTIONS))
    return place


def evaluate(*arguments):
    return invoke(["evaluate", "models", *map(str, arguments)])


def results(*arguments, out):
    run = evaluate(*arguments, "--out", out)
    assert run.exit_code == 0, run.output
    return json.loads((out / "report.json").read_text()) | {"command": "", "provenance": {}}


def test_a_folder_of_mixed_precision_draws_in_the_one_asked_for(tmp_path):
    pipeline = tiny.stable_diffusion(seed=0)
    pipeline.unet.to(torch.bfloat16)
    pipeline.save_pretrained(tmp_path)
    pipeline.unet.to(torch.float32)
    whole = load_pipeline(str(tmp_path), torch.float32)
    assert torch.equal(*(render(each, ["a cat"], [3], num_inference_steps=2) for each in (pipeline, whole)))
    half = load_pipeline(str(tmp_path), torch.bfloat16)
    assert {part.dtype for part in (half.unet, half.vae, half.text_encoder)} == {torch.bfloat16}


def test_from_adapters_to_the_page_and_again_from_what_is_there(folder, tmp_path, request):
    out = tmp_path / "out"
    options = [*QUICK, "--prompts", folder / "prompts.txt"]
    options += ["--tuned", folder / "moved" / "lora", "--tuned", f"still={folder / 'still' / 'lora'}"]
    record = results(*options, out=out)
    moved, still = record["models"]
    assert (moved["name"], moved["trained_on"]) == ("moved/lora", ["pickscore"])
    of_moved = {one["signal"]: one for one in moved["signals"]}
    held_out = {name: one["held_out"] for name, one in of_moved.items()}
    judges = {"judge_psnr": True, "judge_right_scene": True}
    assert held_out == {"image_reward": True, "pickscore": False, "hps_v2": True, **judges, "toy": False}
    # The same seeds: an adapter that changes nothing ties with the base model everywhere.
    assert all((one["ties"], one["win_rate"], one["difference"]) == (10, 0.5, 0.0) for one in still["signals"])
    assert still["diversity"]["difference"] == 0.0 and "WARNING" not in still["verdict"]
    assert still["verdict"].startswith("No verdict on still: every picture has just the scores of the base model's")
    assert moved["verdict"].startswith("No verdict on moved/lora: from 5 prompts nothing follows")
    # Counted again from the pictures alone.
    scorer = load_scorer("hps_v2", emoji.checkpoints()["hps_v2"])
    files = [f"{line + 1:04d}_{place + 1:02d}.png" for line in range(5) for place in range(2)]
    prompts = [caption for caption in CAPTIONS for _ in range(2)]
    before, after = (
        scorer.score([out / name / "pictures" / file for file in files], prompts) for name in ("base", "moved-lora")
    )
    assert of_moved["hps_v2"]["wins"] == (after > before).sum()
    assert of_moved["hps_v2"]["difference"] == pytest.approx((after - before).mean().item(), abs=1e-5)
    seed = seed_of(0, "picture", 2, 1)
    drawn = render(emoji.load_pipeline(), [CAPTIONS[2]], [seed], num_inference_steps=2, guidance_scale=1.0)
    on_disk = to_pixels(open_picture(out / "base" / "pictures" / "0003_02.png"))
    torch.testing.assert_close(drawn[0], on_disk, rtol=0, atol=0.01)
    assert record["calibrations"] == {"toy": Calibration.load(emoji.CALIBRATION).fingerprint()}
    assert (out / "report.html").is_file() and all(
        (out / one["side_by_side"]).is_file() for one in moved["best"] + moved["worst"]
    )
    request.getfixturevalue("no_plots")  # from here on only numbers and pictures are of interest
    # What was lost or is broken is made again, and only that.
    (out / "moved-lora" / "pictures" / "0001_02.png").unlink()
    shutil.rmtree(out / "still")
    (out / "base" / "pictures" / "0001_01.png").write_bytes(b"broken")
    assert results(*options, out=out) == record
    # Other weights in the same folder, other prompts, another seed: as in a folder where nothing was.
    shutil.copytree(folder / "moved", tmp_path / "moved")
    options = [*QUICK, "--scorers", "pickscore"]
    options += ["--prompts", tmp_path / "prompts.txt", "--tuned", tmp_path / "moved" / "lora"]
    (tmp_path / "prompts.txt").write_text("\n".join(CAPTIONS))
    results(*options, out=out)
    shutil.rmtree(tmp_path / "moved")
    adapter(tmp_path / "moved" / "lora", emoji.load_pipeline(), 0.2)
    (tmp_path / "prompts.txt").write_text("\n".join([*CAPTIONS[:2], CAPTIONS[0]]))
    assert results(*options, "--seed", 1, out=out) == results(*options, "--seed", 1, out=tmp_path / "whole")
    ours, whole = (
        {str(path.relative_to(place)) for path in place.glob("*/**/*.[jp]*g") if "still" not in path.parts}
        for place in (out, tmp_path / "whole")
    )
    assert ours == whole


@pytest.mark.usefixtures("no_plots")
def test_one_prompt_one_picture_and_a_whole_network(folder, tmp_path):
    network = emoji.load_pipeline().unet
    for parameter in network.parameters():
        parameter.data *= 0.98
    network.save_pretrained(tmp_path / "unet")
    (tmp_path / "prompts.txt").write_text("a apple on a green background\n")
    options = [*QUICK, "--samples", 1, "--scorers", "pickscore", "--prompts", tmp_path / "prompts.txt"]
    record = results(*options, "--tuned", tmp_path / "unet", "--trained-on", "none", out=tmp_path / "out")
    model = record["models"][0]
    assert model["diversity"] is None and model["trained_on"] == []
    assert len(model["best"]) + len(model["worst"]) == 1
    assert model["verdict"].startswith("No verdict on") and "from 1 prompt nothing follows" in model["verdict"]
    assert model["signals"][0]["ties"] == 0  # another network draws another picture
    assert any(
        "Diversity was not measured: one picture of a prompt, give --samples" in note for note in record["notes"]
    )


@pytest.mark.usefixtures("no_plots")
def test_by_default_some_scorers_are_not_in_the_default_reward(tmp_path):
    tiny.stable_diffusion().unet.save_pretrained(tmp_path / "unet")
    (tmp_path / "prompts.txt").write_text("a red apple\n")
    options = ["--model", "tiny", "--samples", 1, "--steps", 1, "--prompts", tmp_path / "prompts.txt"]
    options += ["--tuned", tmp_path / "unet", "--trained-on", "image_reward,pickscore,hps_v2"]
    model = results(*options, out=tmp_path / "out")["models"][0]
    assert [one["signal"] for one in model["signals"] if one["held_out"]] == ["clip", "aesthetic"]
    told = json.loads((tmp_path / "out" / "report.json").read_text())["provenance"]["versions"]
    assert told["scorer clip"] == "of the toy tiny"
    assert "its weights change nothing" in model["verdict"]  # the same seed makes the same network


def test_killed_and_resumed_by_two_processes_gives_what_one_gives(folder, forked, tmp_path):
    options = ["evaluate", "models", *QUICK, "--prompts", folder / "prompts.txt", "--tuned", folder / "moved" / "lora"]
    command = ["-m", "fergi_reward", *options, "--scorers", "pickscore", "--out"]
    forked([*command, tmp_path / "two"]).kill_once(lambda: list((tmp_path / "two").glob("base/pictures/0*.png")))
    assert not (tmp_path / "two" / "report.json").exists()
    run = forked([*command, tmp_path / "two"], 2)
    assert run.wait() == 0 and run.stdout.count("# Tuned models against emoji") == 1, run.stderr
    assert forked([*command, tmp_path / "one"]).wait() == 0  # with one thread too: the last bits hang on it
    one, two = (json.loads((tmp_path / name / "report.json").read_text()) for name in ("one", "two"))
    known = {"command": "", "provenance": {}}
    assert one | known == two | known
    for path in (tmp_path / "one").rglob("pictures/*.png"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_a_second_run_on_one_folder_is_refused(folder, tmp_path):
    options = [*QUICK, "--prompts", folder / "prompts.txt", "--tuned", folder / "moved" / "lora"]
    with owned(tmp_path / "out"):
        run = evaluate(*options, "--out", tmp_path / "out")
    assert run.exit_code == 2 and "another run" in run.stderr and list(tmp_path.glob("out/*")) == []


def test_the_captions_for_judging_are_those_that_nothing_was_trained_on():
    assert read_prompts(Path("configs/prompts/emoji_held_out.txt")) == [scene.caption for scene in HELD_OUT]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tuned", "empty"], "--tuned empty is empty: give the folder of an adapter"),
        (["--tuned", "text"], "--tuned text holds no weights"),
        (["--tuned", "no where"], "--tuned no where is neither a folder nor a hub id"),
        (["--tuned", "moved/nowhere"], "--tuned moved/nowhere is neither a folder nor a hub id"),
        (["--tuned", "=x"], "--tuned '=x' must be NAME=PLACE or PLACE"),
        (["--tuned", "moved/lora", "--tuned", "moved/lora"], "2 models are called 'moved-lora': name them"),
        (["--tuned", "x=moved/lora,x=still/lora"], "2 models are called 'x': name them, as in --tuned mine=still/lora"),
        (["--tuned", "base=moved/lora"], "--tuned base=...: 'base' is a folder of the base model's or of the report's"),
        (["--tuned", f"moved/lora/{WEIGHTS}"], f"--tuned moved/lora/{WEIGHTS} is a file: give its folder, moved/lora"),
        (["--tuned", "moved/lora", "--scorers", "pickscore,gone:red"], "the scorer 'gone:red' cannot be imported (Mod"),
        (
            ["--tuned", "moved/lora", "--scorers", "math:sin", "--trained-on", "math:sine"],
            "the scorer 'math:sine' cannot be imported: math has no sine, did you mean sin?",
        ),
        (
            ["--tuned", "moved/lora", "--scorers", "math:sin", "--trained-on", "gone:sin"],
            "--trained-on gone:sin cannot be imported, and --scorers math:sin may be the same",
        ),
        (
            ["--tuned", "moved/lora", "--scorers", "math:sin", "--trained-on", "gone.math:cosine"],
            "--trained-on gone.math:cosine cannot be imported, and --scorers math:sin may be the same",
        ),
        (["--tuned", "moved/lora", "--prompts", "none.txt"], "none.txt holds no prompt"),
        (["--tuned", "moved/lora", "--trained-on", "pickscor"], "there is no scorer 'pickscor'"),
        (["--tuned", "moved/lora", *["--calibration", "shipped"] * 2], "2 times --calibration shipped: a report could"),
        (
            ["--tuned", "moved/lora", "--calibration=/a/c.json", "--calibration=/b/c.json"],
            "2 times --calibration c.json",
        ),
        (["--tuned", "moved/lora", "--checkpoint", "pickscore=x/y/z"], "the checkpoint x/y/z is neither a folder nor"),
        (["--tuned", "other/lora", "--model", "org/sdxl"], "was trained on org/sd15, and --model is org/sdxl"),
        (["--tuned", "other/lora", "--scorers", "pickscore"], "other/lora holds no adapter of this pipeline"),
        (["--tuned", "other/lora"], "more): give one that was trained on this model"),
        (
            ["--tuned", "moved/lora", "--scorers", "mine:brightness", "--trained-on", "brightness"],
            "--trained-on has 'brightness', and --scorers 'mine:brightness': give --trained-on that, too",
        ),
    ],
)
def test_mistakes_are_one_sentence(folder, options, message, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    (folder / "empty").mkdir(exist_ok=True)
    (folder / "text").mkdir(exist_ok=True)
    (folder / "text" / "README.md").write_text("nothing here")
    (folder / "none.txt").write_text("\n\n")
    if not (folder / "other").exists():
        adapter(folder / "other" / "lora", tiny.stable_diffusion(), 0.1, base_model="org/sd15")
    result = evaluate(*QUICK, "--prompts", "prompts.txt", *options, "--out", tmp_path / "out")
    assert result.exit_code == 2, result.output
    assert message in result.stderr and "Traceback" not in result.output
    assert not list((tmp_path / "out").rglob("*.png"))


@pytest.mark.usefixtures("no_plots")
def test_a_checkpoint_judges_in_place_of_the_toys_own_scorer(tmp_path):
    adapter(tmp_path / "lora", tiny.stable_diffusion_xl(), 0.1)
    (tmp_path / "prompts.txt").write_text("a red apple\n")
    place = emoji.checkpoints()["pickscore"]
    options = ["--model", "tiny_xl", "--samples", 1, "--steps", 1, "--prompts", tmp_path / "prompts.txt"]
    options += ["--tuned", tmp_path / "lora", "--scorers", "pickscore,clip", "--checkpoints", f"pickscore={place}"]
    signals = results(*options, out=tmp_path / "out")["models"][0]["signals"]
    picture = tmp_path / "out" / "base" / "pictures" / "0001_01.png"
    expected = [load_scorer("pickscore", place), tiny.clip()]
    assert [one["base"] for one in signals[:2]] == [
        pytest.approx(scorer.score([picture], ["a red apple"]).item(), abs=1e-4) for scorer in expected
    ]
    told = json.loads((tmp_path / "out" / "report.json").read_text())["provenance"]["versions"]
    assert told["scorer pickscore"] == f"pickscore (SHA-256 {folder_fingerprint(place)[:16]})"
    assert told["scorer clip"] == "of the toy tiny_xl"


def test_an_adapter_that_does_not_say_its_scale_is_doubted(tmp_path):
    weights = {"unet.x.lora.down.weight": torch.ones(4, 8), "unet.x.lora.up.weight": torch.ones(8, 4)}
    told = {"lora_adapter_metadata": '{"unet.lora_alpha": 16}'}
    for name, content, metadata in (("plain", weights, None), ("told", weights, told), ("old", weights, None)):
        (tmp_path / name).mkdir()
        more = {"unet.x.alpha": torch.tensor(16.0)} if name == "old" else {}
        save_file({**content, **more}, tmp_path / name / "pytorch_lora_weights.safetensors", metadata)
    doubts = {name: scale_doubt(tuned_model(str(tmp_path / name), None)) for name in ("plain", "told", "old")}
    assert "do not say its lora_alpha" in doubts.pop("plain")
    assert doubts == {"told": None, "old": None}
