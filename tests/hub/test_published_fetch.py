import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from fergi_reward.diffusion.load import load_pipeline
from fergi_reward.files.locks import owned
from fergi_reward.hub import landmarker_model
from fergi_reward.hub.published import SCORERS
from fergi_reward.scorers.registry import load_scorer
from fergi_reward.toy import emoji
from tests.command_line import invoke
from tests.hub_server import contents

SD = "stable-diffusion-v1-5"
PICKSCORE = "yuvalkirstain/PickScore_v1"
WEIGHTS = "model.safetensors"


def download(*arguments):
    return invoke(["download", *map(str, arguments)])


def complete(*arguments):
    result = download(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def mistake(result):
    """The one sentence of a user's mistake: status 2 and no traceback."""
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    return result.stderr.strip().splitlines()[-1]


def ranges_asked(hub):
    """Where each answer with the content of weights began."""
    return [asked for method, path, asked in hub.asked if method == "GET" and path.startswith("cdn/")]


def nobody_answers(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub.files.clear()
    hub.asked.clear()


def test_folders_are_taken_as_they_are_and_nobody_is_asked_any_more(hub, tmp_path, monkeypatch):
    hub.files[f"{SD}/{SD}"] |= {f"unet/{name}": b"{}" for name in ("model.fp16.safetensors", "model.onnx")}
    complete("all-scorers", SD, "--out", tmp_path)
    assert sorted(contents(tmp_path / "pickscore")) == ["SHA256SUMS", "config.json", WEIGHTS]
    assert sorted(contents(tmp_path / SD / "unet")) == ["config.json", "diffusion_pytorch_model.safetensors"]
    nobody_answers(hub, monkeypatch)
    for name, sizes in (("image_reward", "vision_config.json"), ("hps_v2", "open_clip_config.json")):
        for folder in tmp_path.glob(f"{name}*"):  # the toys' sizes; the official ones need no file
            shutil.copy(emoji.checkpoints()[name] / sizes, folder)
    shutil.copytree(emoji.checkpoints()["pickscore"] / "processor", tmp_path / "pickscore" / "processor")
    for name in SCORERS:
        if name not in ("hps_v2.0", "hpsv3"):  # the same as hps_v2, and 16.6 GB by name alone
            assert load_scorer(name, tmp_path / name).name == name
    assert load_pipeline(str(tmp_path / SD)).unet
    assert not hub.asked


def test_without_a_folder_the_hubs_cache_is_filled_and_nobody_is_asked_any_more(hub, monkeypatch):
    complete("clip", "aesthetic", SD)
    nobody_answers(hub, monkeypatch)
    for name in ("clip", "aesthetic"):
        assert load_scorer(name).name == name
    assert load_pipeline(f"{SD}/{SD}").unet
    assert not hub.asked


def test_a_copy_is_checked_where_nobody_answers(hub, tmp_path, monkeypatch):
    names = ("all-scorers", SD)
    complete(*names, "--out", tmp_path / "from")
    nobody_answers(hub, monkeypatch)
    shutil.copytree(tmp_path / "from", tmp_path / "models")
    copies = [path for path in (tmp_path / "models").rglob("*") if path.is_file() and path.name != "SHA256SUMS"]
    assert f"all {len(copies)} files are there" in complete(*names, "--check", "--out", tmp_path / "models")
    for folder in (tmp_path / "models").iterdir():  # coreutils read the same list
        subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    weights, unet = tmp_path / "models/clip" / WEIGHTS, tmp_path / f"models/{SD}/unet/config.json"
    size = weights.stat().st_size
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    unet.unlink()
    said = mistake(download(*names, "--check", "--out", tmp_path / "models"))
    assert f"{weights} is altered (the size is right, {size:,} bytes, the content differs)" in said
    assert f"{unet} is missing" in said and said.count(" is ") == 3
    sums = weights.with_name("SHA256SUMS")
    for content, has_sizes, why in [
        (weights.read_bytes()[:-1], True, f"cut off (it has {size - 1:,} of {size:,} bytes)"),
        (weights.read_bytes()[:-1], False, f"cut off (it has {size - 1:,} of {size:,} bytes)"),
        (b"", False, "altered (it has 0 bytes)"),
        (weights.read_bytes() + b"?", True, f"altered (it has {size + 1:,} bytes, must have {size:,})"),
    ]:
        listed = sums.read_text()
        weights.write_bytes(content)
        if not has_sizes:
            sums.write_text("".join(line for line in listed.splitlines(True) if " bytes  " not in line))
        assert f"{weights} is {why}" in mistake(download("clip", "--check", "--out", tmp_path / "models"))
        sums.write_text(listed)
    assert not hub.asked


def test_the_list_of_a_folder_that_came_on_another_way_is_written_by_the_command_of_the_page(hub, tmp_path):
    complete("pickscore", "--out", tmp_path / "models")
    sums = tmp_path / "models/pickscore/SHA256SUMS"
    expected = sums.read_text()
    sums.unlink()
    page = Path(__file__).parents[2].joinpath("docs/OFFLINE.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^`(cd models/NAME .*)`$", page, re.M)
    subprocess.run(["bash", "-c", line.replace("NAME", "pickscore")], cwd=tmp_path, check=True)
    assert sorted(sums.read_text().splitlines()) == sorted(expected.splitlines())
    complete("pickscore", "--check", "--out", tmp_path / "models")


def test_everything_that_is_wrong_with_a_copy_is_in_one_report(hub, tmp_path):
    names = ("pickscore", "clip", "image_reward", "hps_v2")
    complete(*names, "--out", tmp_path)
    (tmp_path / "pickscore" / "SHA256SUMS").unlink()
    (tmp_path / "clip" / "SHA256SUMS").write_text("".join(f"{0:064}  {name}\n" for name in ("config.json", WEIGHTS)))
    (tmp_path / "image_reward" / "ImageReward.pt").unlink()
    (tmp_path / "hps_v2" / "notes.txt").write_text("mine")
    result = download(*names, "--check", "--out", tmp_path)
    said = mistake(result)
    assert f"{tmp_path / 'pickscore' / 'SHA256SUMS'} cannot be read (No such file" in said
    assert f"{tmp_path / 'clip' / 'SHA256SUMS'} has 1 digest " in said and "must be '# N files'" in said
    assert f"{tmp_path / 'image_reward' / 'ImageReward.pt'} is missing" in said and "hps_v2" not in said
    assert f"not listed: {tmp_path / 'hps_v2' / 'notes.txt'}" in result.stdout.splitlines()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda sums: sums.unlink(), "cannot be read (No such file"),
        (lambda sums: sums.write_text(""), "cannot be read (it is damaged)"),
        (
            lambda sums: sums.write_text(sums.read_text()[:-30]),
            "has 2 digests and 1 unreadable line, its first line is '# 2 files' and must be '# N",
        ),
        (lambda sums: sums.write_text("# 1 files\n" + sums.read_text().splitlines()[1] + "\n"), f"names no {WEIGHTS}"),
    ],
)
def test_digests_that_are_not_complete_are_no_proof(hub, tmp_path, harm, message):
    complete("pickscore", "--out", tmp_path)
    harm(tmp_path / "pickscore" / "SHA256SUMS")
    assert message in mistake(download("pickscore", "--check", "--out", tmp_path))


def here(*arguments):
    """By name, what `--list` says is here."""
    rows = json.loads(complete("--list", "--json", *arguments))["published"]
    return {row["name"]: row["here"] for row in rows}


@pytest.mark.parametrize("place", ["folder", "cache"])
def test_what_is_here_is_listed_without_a_network(hub, tmp_path, monkeypatch, place):
    out = ["--out", tmp_path / "models"] if place == "folder" else []
    monkeypatch.setattr("fergi_reward.hub.published_state._SMALL", 1e12)  # the toys' weights are small
    complete("image_reward", SD, *out)
    nobody_answers(hub, monkeypatch)
    found = here(*out)
    assert {name for name, state in found.items() if state == "yes"} - {"bert-base-uncased", "face_landmarker"} == {
        "image_reward",
        SD,
    }
    (part,) = (path for path in tmp_path.rglob("med_config.json") if place == "folder" or "snapshots" in path.parts)
    part.unlink()
    assert here(*out)["image_reward"].endswith(" of it")
    assert not hub.asked


def test_weights_that_are_too_small_are_no_whole_model(hub, tmp_path):
    complete("pickscore", "--out", tmp_path)
    assert here("--out", tmp_path)["pickscore"] == "468 kB of it"  # of 3.94 GB


def test_what_is_to_come_is_printed_first(hub, tmp_path):
    hub.files[PICKSCORE][WEIGHTS] = bytes(1_230_000)
    repositories = [PICKSCORE, "trl-lib/ddpo-aesthetic-predictor", "openai/clip-vit-large-patch14"]
    printed = complete("pickscore", "aesthetic", "--out", tmp_path)
    weights = next(line for line in printed.splitlines() if WEIGHTS in line)
    assert [cell.strip() for cell in weights.split("|")[1:-1]] == [
        "pickscore", WEIGHTS, "1.23 MB", "none stated (its code: MIT)", PICKSCORE
    ]  # fmt: skip
    rows = [line.split("|")[2].strip() for line in printed.splitlines() if line.startswith("| aesthetic")]
    assert sorted(rows) == ["aesthetic-model.pth", "config.json", WEIGHTS]
    needed = ("aesthetic-model.pth", "config.json", WEIGHTS)
    sizes = [len(hub.files[repository].get(name, b"")) for repository in repositories for name in needed]
    assert f"total {sum(sizes) / 1e6:.3g} MB, to download {sum(sizes) / 1e6:.3g} MB; free in {tmp_path}" in printed


@pytest.mark.parametrize("stopped_after", [0, 100_000])
def test_a_broken_connection_resumes_in_a_folder(hub, tmp_path, stopped_after):
    hub.stop_after = stopped_after
    assert "run this again" in mistake(download("pickscore", "--out", tmp_path))
    assert not (tmp_path / "pickscore" / WEIGHTS).exists()
    complete("pickscore", "--out", tmp_path)
    assert ranges_asked(hub) == [None, f"bytes={stopped_after}-" if stopped_after else None]
    assert (tmp_path / "pickscore" / WEIGHTS).read_bytes() == hub.files[PICKSCORE][WEIGHTS]


def test_a_page_in_place_of_the_rest_of_a_file_leaves_what_is_there(hub, tmp_path):
    hub.stop_after = 100_000
    mistake(download("pickscore", "--out", tmp_path))
    hub.sent[WEIGHTS] = b"<html>log in first</html>" * 5000  # of the WLAN of a hotel, say
    assert "25000 bytes are there and 466818 must be" in mistake(download("pickscore", "--out", tmp_path))
    hub.sent.clear()
    complete("pickscore", "--out", tmp_path)
    assert ranges_asked(hub)[-1] == "bytes=100000-"


def test_what_is_right_stays_and_what_is_damaged_is_repaired(hub, tmp_path):
    complete("pickscore", "--out", tmp_path)
    hub.asked.clear()
    assert "to download 0 B" in complete("pickscore", "--out", tmp_path)
    assert not ranges_asked(hub)
    weights = tmp_path / "pickscore" / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    complete("pickscore", "--out", tmp_path)
    assert weights.read_bytes() == hub.files[PICKSCORE][WEIGHTS]


def test_what_is_damaged_in_the_hubs_cache_is_repaired(hub, tmp_path):
    complete("pickscore")
    (weights,) = (tmp_path / "hub").glob(f"models--*/snapshots/*/{WEIGHTS}")
    weights.resolve().write_bytes(b"half")
    complete("pickscore")
    assert weights.read_bytes() == hub.files[PICKSCORE][WEIGHTS]


@pytest.mark.parametrize(
    "content", [lambda right: right[:-1] + b"?", lambda right: right[:-1], lambda right: right * 2]
)
@pytest.mark.parametrize("place", ["folder", "cache"])
def test_a_file_that_is_not_what_the_hub_states_gets_no_name(hub, tmp_path, monkeypatch, content, place):
    monkeypatch.setattr("time.sleep", lambda _: None)  # between the tries of the hub's library
    hub.sent[WEIGHTS] = content(hub.files[PICKSCORE][WEIGHTS])
    to = ["--out", tmp_path / "to"] if place == "folder" else []
    assert WEIGHTS in mistake(download("pickscore", *to))
    assert not list(tmp_path.rglob(WEIGHTS))
    hub.sent.clear()
    complete("pickscore", *to)


def test_too_little_room_is_refused_before_it_starts(hub, tmp_path, monkeypatch):
    size = sum(len(hub.files[PICKSCORE][name]) for name in ("config.json", WEIGHTS))
    free = size - 100_001
    monkeypatch.setattr("fergi_reward.hub.published_fetch.shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    assert "468 kB must be downloaded and 368 kB are free" in mistake(download("pickscore", "--out", tmp_path))
    assert not ranges_asked(hub)
    # What is there of a file that broke off needs no room.
    hub.stop_after = 0
    (tmp_path / "pickscore").mkdir(exist_ok=True)
    (tmp_path / "pickscore" / f"{WEIGHTS}.part").write_bytes(hub.files[PICKSCORE][WEIGHTS][:100_001])
    assert "run this again" in mistake(download("pickscore", "--out", tmp_path))


def test_a_disk_that_fills_is_one_sentence(hub, tmp_path, monkeypatch):
    def full(handle):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("fergi_reward.hub.download.os.fsync", full)
    assert "No space left on device): make room" in mistake(download("pickscore", "--out", tmp_path))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "names are missing: give one or more of image_reward"),
        (("pickscore", "--check", "--list"), "--list and --check exclude each other"),
        (("pickscore", "--check"), "--check needs --out DIR"),
    ],
)
def test_options_that_contradict_each_other(words, message):
    assert message in mistake(download(*words))


def test_a_name_that_nobody_published(hub, tmp_path):
    said = mistake(download("hpsv4", "pickscore", "--out", tmp_path))
    assert "there is no 'hpsv4': did you mean hpsv3? choose from image_reward, pickscore" in said
    assert not hub.asked
    assert "there is no 'sharpness': choose from" in mistake(download("sharpness", "--out", tmp_path))


def test_names_have_commas_or_spaces_between_them(hub, tmp_path):
    complete("pickscore,clip", "hps_v2", "--out", tmp_path)
    assert {folder.name for folder in tmp_path.iterdir() if folder.name != "hub"} == {"pickscore", "clip", "hps_v2"}


@pytest.mark.parametrize(("out", "total"), [(True, "3.42 GB"), (False, "1.71 GB")])
def test_names_are_listed_with_a_total_which_has_once_what_the_cache_has_once(tmp_path, out, total):
    words = ["--out", tmp_path] if out else []
    printed = complete("clip,aesthetic", "--list", *words)
    assert [line.split("|")[1].strip() for line in printed.splitlines()[2:]] == ["clip", "aesthetic", "total"]
    assert printed.splitlines()[-1].split("|")[2].strip() == total


def test_without_a_network_the_sizes_that_are_known_are_printed_and_it_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    result = download("hps_v2", "pickscore", "--out", tmp_path)
    said = mistake(result)
    assert "cannot ask the hub for xswu/HPSv2 at http://127.0.0.1:9 (" in said
    assert "HTTPS_PROXY" in said and "HF_ENDPOINT" in said
    assert result.stdout.count("about 3.94 GB") == 2 and "total about 7.89 GB" in result.stdout


@pytest.mark.parametrize("in_the_way", ["pickscore", f"pickscore/{WEIGHTS}"])
def test_what_is_in_the_way_is_named(hub, tmp_path, in_the_way):
    (tmp_path / "pickscore").mkdir()
    if in_the_way == "pickscore":
        (tmp_path / "pickscore").rmdir()
        (tmp_path / "pickscore").write_text("no folder")
    else:
        (tmp_path / in_the_way).mkdir()
    assert f"cannot write {tmp_path / 'pickscore'}" in mistake(download("pickscore", "--out", tmp_path))


def test_a_second_run_on_a_file_is_refused(hub, tmp_path):
    with owned(tmp_path / "pickscore" / WEIGHTS):
        assert "another run (process" in mistake(download("pickscore", "--out", tmp_path))
    complete("pickscore", "--out", tmp_path)


def test_the_token_goes_to_the_hub_and_not_to_whom_it_sends_on_to(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    complete("pickscore", "--out", tmp_path)
    assert hub.tokens["yuvalkirstain"] == {"Bearer hf_secret"} and hub.tokens["cdn"] == {None}
    hub.refused.add(PICKSCORE)
    shutil.rmtree(tmp_path / "pickscore")
    assert "accept its license" in mistake(download("pickscore", "--out", tmp_path))


def test_the_face_landmarker_lies_where_extract_looks_for_it(hub, tmp_path, monkeypatch):
    model = b"a model of faces"
    hub.files["media/pipe"] = {landmarker_model.FILE: model}
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(landmarker_model, "URL", f"{hub.url}/media/pipe/resolve/1/{landmarker_model.FILE}")
    monkeypatch.setattr(landmarker_model, "SHA256", hashlib.sha256(model).hexdigest())
    monkeypatch.setattr(landmarker_model, "BYTES", len(model))
    complete("face_landmarker")
    hub.files.clear()
    assert landmarker_model.landmarker_model().read_bytes() == model
    hub.files["media/pipe"] = {landmarker_model.FILE: b"a model of paces"}
    assert "must have" in mistake(download("face_landmarker", "--out", tmp_path / "to"))
    assert not list(Path(tmp_path / "to").rglob("*.task*"))


def test_a_repository_that_lost_a_file_is_named(hub, tmp_path):
    del hub.files[PICKSCORE]["config.json"]
    assert f"{PICKSCORE} has no config.json any more" in mistake(download("pickscore", "--out", tmp_path))
