import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fergi_reward.core.errors import FergiRewardError
from fergi_reward.hub.checksums import write_checksums
from fergi_reward.scorers.checkpoints import Checkpoint, load_weights, read_json, read_weights
from fergi_reward.scorers.pickscore import PickScorer


def linear() -> torch.nn.Linear:
    return torch.nn.Linear(3, 2, device="meta")


WEIGHTS = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}


class Bomb:
    """Unpickled with trust, it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt", "wrapped.pt", "legacy.pt"])
def test_weights_come_back_whatever_the_format(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith(".safetensors"):
        save_file(WEIGHTS, path)
    else:
        stored = {"state_dict": WEIGHTS} if name.startswith("wrapped") else WEIGHTS
        torch.save(stored, path, _use_new_zipfile_serialization=not name.startswith("legacy"))
    module = linear()
    load_weights(module, path)
    torch.testing.assert_close(module(torch.ones(3)), torch.tensor([4.0, 13.0]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_weights_take_the_dtype_of_what_they_replace(dtype: torch.dtype, tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "a.safetensors")
    module = linear()
    module.weight.data = module.weight.data.to(dtype)
    load_weights(module, tmp_path / "a.safetensors")
    assert torch.equal(module.weight, WEIGHTS["weight"].to(dtype))
    assert torch.equal(module.bias, WEIGHTS["bias"])


def test_weights_may_be_renamed_or_left(tmp_path: Path) -> None:
    save_file(
        {"a.weight": WEIGHTS["weight"], "a.bias": WEIGHTS["bias"], "b": torch.ones(1)}, tmp_path / "a.safetensors"
    )
    module = linear()
    load_weights(module, tmp_path / "a.safetensors", lambda key: None if key == "b" else key.removeprefix("a."))
    assert torch.equal(module.weight, WEIGHTS["weight"])


def test_keys_that_do_not_fit_are_named(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(2, 4), "extra": torch.ones(1)}, tmp_path / "a.safetensors")
    with pytest.raises(
        FergiRewardError, match=r"missing: bias; unexpected: extra; .* weight \(2, 4\) instead of \(2, 3"
    ):
        load_weights(linear(), tmp_path / "a.safetensors")


def test_many_keys_are_shortened(tmp_path: Path) -> None:
    save_file(WEIGHTS | {key: torch.ones(1) for key in "abcdefg"}, tmp_path / "a.safetensors")
    with pytest.raises(FergiRewardError, match="unexpected: a, b, c, d, e and 2 more"):
        load_weights(linear(), tmp_path / "a.safetensors")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (b"", "damaged"),
        (b"\x80\x02 nonsense", "damaged"),
    ],
)
def test_files_that_are_no_checkpoints(suffix: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(FergiRewardError, match=f"cannot read the checkpoint .*{message}"):
        read_weights(path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
def test_a_checkpoint_cut_short(suffix: str, kept: float, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(WEIGHTS, path)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(FergiRewardError, match=r"damaged.*download it again"):
        read_weights(path)


def test_a_pickle_is_not_executed(tmp_path: Path) -> None:
    path, touched = tmp_path / "model.pt", tmp_path / "touched"
    torch.save({"weight": Bomb(touched)}, path)
    with pytest.raises(FergiRewardError, match="never executed"):
        read_weights(path)
    path.write_bytes(pickle.dumps(Bomb(touched), protocol=2))
    with pytest.raises(FergiRewardError, match="never executed"):
        read_weights(path)
    assert not touched.exists()


def test_something_else_than_tensors(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "model.pt")
    with pytest.raises(FergiRewardError, match="something else than named tensors"):
        read_weights(tmp_path / "model.pt")


def test_places_that_are_no_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(FergiRewardError, match=r"has no model\.safetensors"):
        Checkpoint(tmp_path).file("model.safetensors")
    with pytest.raises(FergiRewardError, match=r"there is no folder .*none: name the folder"):
        Checkpoint(tmp_path / "none").file("model.safetensors")


def test_a_mistyped_folder_is_not_taken_for_a_name_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("models/image_reward").mkdir(parents=True)
    with pytest.raises(FergiRewardError, match=r"no folder models/image_rewrd: did you mean models/image_reward[?]"):
        Checkpoint("models/image_rewrd").file("a.pt")
    with pytest.raises(FergiRewardError, match=r"no folder ./image: name the folder"):
        Checkpoint("./image").file("a.pt")
    with pytest.raises(FergiRewardError, match="x/y/z is neither a folder nor a hub id"):
        Checkpoint("x/y/z").file("a.pt")


def test_a_file_of_another_size_than_its_folder_states_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(bytes(100))
    write_checksums(tmp_path, {"model.safetensors": "0" * 64})
    assert Checkpoint(tmp_path).file("model.safetensors")
    (tmp_path / "model.safetensors").write_bytes(bytes(60))
    with pytest.raises(FergiRewardError, match=r"is cut off .it has 60 of 100 bytes., as .*SHA256SUMS says: copy it"):
        Checkpoint(tmp_path).file("model.safetensors")
    (tmp_path / "SHA256SUMS").write_text("no digests")
    assert Checkpoint(tmp_path).file("model.safetensors")


@pytest.mark.parametrize("content", ["<html>", "[1]", ""])
def test_what_is_no_json_object(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(FergiRewardError, match=r"config\.json"):
        read_json(tmp_path / "config.json")


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, which is offline."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_without_a_hub_it_says_so_in_one_sentence(hub_cache: Path) -> None:
    with pytest.raises(
        FergiRewardError, match=r"cannot get a\.pt of owner/name from the hub \(HF_HUB_OFFLINE is set\)"
    ):
        Checkpoint("owner/name").file("a.pt")


def test_a_hub_that_does_not_answer_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)  # between its tries
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}",
    )
    with pytest.raises(FergiRewardError, match=r"from the hub \(.*refused\): connect to it once"):
        Checkpoint("owner/name").file("a.pt")
    assert not caplog.records


def test_the_pinned_revision_is_found_in_the_cache_of_the_hub(hub_cache: Path, checkpoints: Path) -> None:
    snapshots = hub_cache / "models--yuvalkirstain--PickScore_v1" / "snapshots"
    shutil.copytree(checkpoints / "pickscore", snapshots / PickScorer.revision)
    from_hub, from_folder = PickScorer.from_pretrained(), PickScorer.from_pretrained(checkpoints / "pickscore")
    pixels = torch.rand(1, 3, 32, 32)
    assert torch.equal(from_hub(pixels, "a cat"), from_folder(pixels, "a cat"))
