"""JSON, YAML and tensors that somebody else wrote: refused in one sentence, and at once."""

import json
import os
import re
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import fergi_reward
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.evaluation.compared_model import read_card
from fergi_reward.faces.predictor import ReactionPredictor
from fergi_reward.files.json_files import parse_json, read_json
from fergi_reward.files.tensor_files import read_state
from fergi_reward.files.yaml_files import parse_yaml
from fergi_reward.scorers.checkpoints import read_weights
from fergi_reward.scorers.registry import load_scorer
from tests.command_line import invoke

PACKAGE = Path(fergi_reward.__file__).parent
BOMB = "a: &a [x, x]\n" + "\n".join(f"{new}: &{new} [{f'*{old}, ' * 9}]" for old, new in zip("abcdefgh", "bcdefghi"))  # noqa: B905


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9" * 400, "more than 64 bits"),
        ("-99999999999999999999", "more than 64 bits"),
        ("1e999", "too large"),
        ("[NaN]", "NaN is no JSON number"),
        ('{"a": 1, "a": 2}', "'a' is given twice"),
        ("[" * 100_000, "deeper than 64"),
        ("[" * 65 + "]" * 65, "deeper than 64"),
        (r'{"a": ["\ud800"]}', "half of a surrogate pair"),
        (b"\xff\xfe", "codec"),
    ],
)
def test_json_that_python_takes_in_two_ways_or_chokes_on_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)


def test_json_with_a_byte_order_mark_is_read_and_a_pipe_is_not(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": 9223372036854775807}')
    assert read_json(tmp_path / "a.json") == {"a": 2**63 - 1}
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(FergiRewardError, match="no ordinary file"):
        Calibration.load(tmp_path / "pipe.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "alias"),
        ("a: 1\na: 2", "'a' is given twice"),
        ("[" * 5000, "recursion"),
        ("a: 2026-99-99", "month"),
        ("!!python/object:os.system {}", "could not determine a constructor"),
        ("a: " + "x" * 300_000, "longer than"),
    ],
)
def test_yaml_that_is_not_plain_values_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_yaml(text)


def test_a_bomb_of_aliases_hangs_neither_a_command_nor_a_card(tmp_path: Path) -> None:
    (tmp_path / "bomb.yaml").write_text(f"{BOMB}\nscorers: *i\n")  # what is printed or joined unfolds
    result = invoke(["score", "--config", str(tmp_path / "bomb.yaml")])
    assert (result.exit_code, "alias" in result.stderr) == (2, True)
    (tmp_path / "README.md").write_text(f"---\n{BOMB}\ntags: [fergi-reward]\nbase_model: *i\n---\n```json\n{{}}\n```\n")
    assert read_card(tmp_path) is None


@pytest.mark.parametrize(("name", "value"), [("weight", 1e308), ("std", 1e-320), ("mean", -1e30)])
def test_a_calibration_that_would_give_nan_is_refused_by_the_number(name: str, value: float, tmp_path: Path) -> None:
    text = (PACKAGE / "calibration/shipped/fergi-ir50-bradley-terry.json").read_text()
    record = parse_json(text)
    record["fits"][0]["terms"][0][name] = value
    (tmp_path / "c.json").write_text(json.dumps(record))
    with pytest.raises(FergiRewardError, match=rf"{name} of .* is {re.escape(f'{value:g}')}, its size must be from"):
        Calibration.load(tmp_path / "c.json")


@pytest.mark.filterwarnings("ignore")  # of torch, about what it finds in damaged files
def test_a_damaged_checkpoint_is_one_sentence_at_every_byte(tmp_path: Path) -> None:
    draws = torch.Generator().manual_seed(0)
    for zipped in (True, False):
        torch.save(
            {"a": torch.ones(3), "b": {"c": [1, "text"]}}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped
        )
        whole = bytearray((tmp_path / "a.pt").read_bytes())
        for place in torch.randint(len(whole), (150,), generator=draws).tolist():
            damaged = bytes(whole[:place]) + bytes([whole[place] ^ 0x55]) + bytes(whole[place + 1 :])
            (tmp_path / "b.pt").write_bytes(damaged)
            with suppress(OSError, ValueError):  # a sentence where a run resumes
                read_state(tmp_path / "b.pt")
            with suppress(FergiRewardError):
                read_weights(tmp_path / "b.pt")


def test_a_checkpoint_that_unpacks_to_more_than_it_has_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1 << 16)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as whole, zipfile.ZipFile(tmp_path / "b.pt", "w", 8) as packed:
        for member in whole.infolist():
            packed.writestr(member.filename, whole.read(member))
    with pytest.raises(FergiRewardError, match="unpacks to"):
        read_weights(tmp_path / "b.pt")


def test_a_tensor_that_repeats_one_number_without_end_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(1 << 40)}, tmp_path / "a.pt")
    with pytest.raises(FergiRewardError, match="fewer numbers in the file"):
        read_weights(tmp_path / "a.pt")


def test_sizes_of_a_predictor_are_compared_before_anything_is_allocated(predictor_for, tmp_path: Path) -> None:
    predictor_for(load_scorer("pickscore", PACKAGE / "toy/emoji/data/pickscore")).save(tmp_path)
    path = tmp_path / "predictor.json"
    record = json.loads(path.read_text())
    for sizes, message in (
        ({"width": 60000, "components": 60000}, "of another shape"),
        ({"members": 10**30}, "64 bits"),
    ):
        path.write_text(json.dumps(record | {"sizes": record["sizes"] | sizes}))
        with pytest.raises(FergiRewardError, match=message):
            ReactionPredictor.load(tmp_path)


def test_a_safetensors_file_that_was_cut_off_is_told_by_its_header(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors")
    whole = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(whole[:-3])
    with pytest.raises(FergiRewardError, match=f"cut off: it has {len(whole) - 3} of {len(whole)} bytes"):
        read_weights(tmp_path / "a.safetensors")


def test_a_safetensors_file_of_an_unknown_dtype_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes().replace(b"F32", b"F99"))
    with pytest.raises(FergiRewardError, match="cannot read the checkpoint"):
        read_weights(tmp_path / "a.safetensors")
