"""The kinds of input that `fuzz.py` damages: what a whole one holds, and the function or command that opens it."""

import csv
import io
import json
import tempfile
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pandas as pd
import torch
from fuzz_pictures import pictures
from safetensors.torch import save

from fergi_reward.bulk.manifest import read_manifest
from fergi_reward.calibration.calibration import Calibration
from fergi_reward.cli.app import run
from fergi_reward.cli.command import read_options
from fergi_reward.core.errors import FergiRewardError
from fergi_reward.data.extracted import _read_ratings
from fergi_reward.data.fergi import read_fergi
from fergi_reward.data.judgement_files.options import JudgementOptions
from fergi_reward.data.judgement_files.read import read_judgements
from fergi_reward.data.shown_pictures import read_pictures
from fergi_reward.data.simulated import write_simulated_fergi
from fergi_reward.evaluation.benchmarks import hpdv2, imagerewarddb
from fergi_reward.evaluation.compared_model import read_card
from fergi_reward.faces.heads import Heads, HeadSizes
from fergi_reward.faces.judging import HeldOutFigures, Residuals
from fergi_reward.faces.predictor import PredictorRecord, ReactionPredictor
from fergi_reward.files.picture_files import FORMATS
from fergi_reward.files.tensor_files import read_state
from fergi_reward.images import open_picture
from fergi_reward.reactions.manifest import read_recordings
from fergi_reward.reactions.source_map import SourceMap
from fergi_reward.scorers.checkpoints import read_weights
from fergi_reward.scorers.vlm_judge import read_options as read_judge
from fergi_reward.toy import emoji, tiny
from fergi_reward.trainers.lora import add_lora, load_lora, save_lora
from fergi_reward.trainers.options import RewardTrainingOptions
from fergi_reward.trainers.pairs import Pairs, load_table
from fergi_reward.trainers.reward_backprop import RewardBackpropConfig

Files = Mapping[str, bytes]
TENSORS = {"a": torch.arange(6.0), "b": torch.ones(2, 3)}


@dataclass(frozen=True)
class Kind:
    """A kind of input.

    Attributes:
        files: What its folder holds.
        opens: Opens it; given the folder.
        damaged: The files of which one is damaged; all if empty.
        written: Reads, in the folder, the outputs of a command that ended well, and raises where one is not whole.
        outputs: What these are called. After a refusal there is none of them.
    """

    files: Files
    opens: Callable[[Path], object]
    damaged: tuple[str, ...] = ()
    written: Callable[[Path], object] | None = None
    outputs: tuple[str, ...] = ()


def kinds() -> dict[str, Kind]:
    """All kinds by name."""
    return {
        **_pictures(),
        **_weights(),
        **_records(),
        **_tables(),
        **_judgements(),
        "pairs to train on": _training_pairs(),
        **_commands(),
    }


def _one(name: str, content: bytes, opens: Callable[[Path], object]) -> Kind:
    return Kind({name: content}, lambda folder: opens(folder / name))


def _pictures() -> dict[str, Kind]:
    return {name: _one(f"a{FORMATS[name][0]}", content, open_picture) for name, content in pictures().items()}


def _weights() -> dict[str, Kind]:
    state = {"epoch": 3, "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 1e-4}]}}
    return {
        "pt": _one("a.pt", _saved(TENSORS, zipped=True), read_weights),
        "old pt": _one("a.pt", _saved(TENSORS, zipped=False), read_weights),
        "safetensors": _one("a.safetensors", save(TENSORS), read_weights),
        "state": _one("state.pt", _saved(state, zipped=True), _state),
        "adapter": Kind(_in_folder(lambda folder: save_lora(_adapted(), folder)), lambda at: load_lora(_adapted(), at)),
        "predictor": Kind(_in_folder(_save_predictor), ReactionPredictor.load),
    }


def _records() -> dict[str, Kind]:
    ranking = [{"prompt": "a cat", "image_path": ["1.png", "2.png"], "rank": [1, 2]}]
    card = b'---\ntags: [fergi-reward]\nbase_model: emoji\n---\n```json\n{"terms": {"clip": 1}}\n```\n'
    knots = ((0.1, 0.2), (0.5, 0.9))
    source_map = SourceMap("mine", "fergi-ir50", knots, "test", 2, ("a", "b"), 2, ("c", "d"), "0")
    db = pd.DataFrame({"prompt_id": ["a", "a"], "prompt": ["a cat"] * 2, "image_path": ["i/1.webp", "i/2.webp"]})
    db = db.assign(rank=[1, 2], classification="", rating=0)
    trainer = b"num_epochs: 2\ntrain_learning_rate: 0.0001\nmodel: emoji\noutput_dir: run\n"
    judge = b"url: http://x/v1\nmodel: m\nanswers: {1: 1, 2: 2.5}\nrequest: {seed: 1}\ntimeout: 9\n"
    return {
        "calibration": _one("a.json", _calibration(), Calibration.load),
        "source map": Kind(
            _in_folder(lambda folder: source_map.save(folder / "a.json")), lambda at: SourceMap.load(at / "a.json")
        ),
        "hpdv2": _one("test.json", json.dumps(ranking).encode(), lambda path: hpdv2.read(str(path.parent))),
        "imagerewarddb": _one("metadata-test.parquet", _parquet(db), lambda path: imagerewarddb.read(str(path.parent))),
        "card": _one("README.md", card, lambda path: read_card(path.parent)),
        "trainer's YAML": _one("a.yaml", trainer, _trainers_options),
        "judge's YAML": _one("judge.yaml", judge, read_judge),
        "FERGI": Kind(_fergi(), read_fergi, _prepared()),
        "FERGI's lists": Kind(_fergi(), read_fergi, tuple(name for name in _prepared() if name.endswith(".json"))),
        "FERGI's frames": Kind(
            _fergi(), lambda folder: read_fergi(folder, from_frames=True), tuple(n for n in _fergi() if "clip" in n)
        ),
    }


def _tables() -> dict[str, Kind]:
    shown = _rows(["user", "session", "image", "file", "prompt"], *(["u", "1", str(n), "0.png", "a"] for n in (1, 2)))
    recordings = _rows(["video", "user", "session", "image", "consent"], ["a.mp4", "u", "1", "1", "2026-01-02"])
    table = _rows(["user", "session", "image", "rank", "clip"], *(["u", "1", str(n), str(n), ".5"] for n in range(5)))
    return {
        "manifest": _one("a.csv", _manifest(), lambda path: list(read_manifest(path))),
        "shown pictures": _one("a.csv", shown, read_pictures),
        "recordings": _one("a.csv", recordings, read_recordings),
        "ratings": _one("a.csv", table, _read_ratings),
    }


def _judgements() -> dict[str, Kind]:
    """One table of pairs in each format, and one of rankings."""
    table = pd.DataFrame({"caption": ["a cat"] * 3, "image_0": list("abc"), "image_1": list("bca")})
    table = table.assign(label_0=[1.0, 0.5, 0.0], label_1=[0.0, 0.5, 1.0], clip_0=[1.0, 2, 3], clip_1=[2.0, 3, 1])
    rankings = pd.DataFrame({"prompt": ["a cat"], "images": [["a", "b"]], "ranking": [[2, 1]], "clip": [[0.5, 1.0]]})
    files = {
        "judgements CSV": ("a.csv", table.to_csv(index=False).encode()),
        "judgements Parquet": ("a.parquet", _parquet(table)),
        "judgements JSON": ("a.json", rankings.to_json(orient="records").encode()),
        "judgements JSON lines": ("a.jsonl", table.to_json(orient="records", lines=True).encode()),
    }
    return {name: _one(*file, _scores_of_judgements) for name, file in files.items()}


def _scores_of_judgements(path: Path) -> object:
    return read_judgements(path, JudgementOptions(judgements=str(path))).judgements.scores(["clip"])


def _training_pairs() -> Kind:
    """Opened as a trainer takes them; a stream leaves nothing in the cache of datasets."""
    shown = {"caption": "a cat", "jpg_0": pictures()["PNG"], "jpg_1": pictures()["JPEG"], "label_0": 1.0}

    def take(path: Path) -> object:
        return Pairs(load_table(str(path), streaming=True), seed=0, shuffle_buffer=1).take(3)

    return _one("a.parquet", _parquet(pd.DataFrame([shown] * 3)), take)


def _parquet(table: pd.DataFrame) -> bytes:
    table.to_parquet(buffer := io.BytesIO())
    return buffer.getvalue()


def _commands() -> dict[str, Kind]:
    place = emoji.checkpoints()["pickscore"]
    scored = f"score --images a.csv --scorers pickscore --checkpoint pickscore={place} --calibration a.json --out o.csv"
    inputs = {"a.csv": _manifest(), "a.json": emoji.CALIBRATION.read_bytes(), "0.png": pictures()["PNG"]}
    configured = {**inputs, "a.yaml": b"scorers: [pickscore]\nbatch_size: 2\ndtype: float32\nworkers: 1\n"}
    simulated = replace(Calibration.shipped(), au_source="simulated")
    rule = {"s.json": _in_folder(lambda folder: simulated.save(folder / "s.json"))["s.json"]}
    recordings = _rows(["video", "user", "session", "image", "consent"], ["a.mp4", "u", "1", "1", "2026-01-02"])
    return {
        "score": _command(scored, inputs, (), "o.csv"),
        "score --config": _command(scored + " --config a.yaml", configured, ("a.yaml",), "o.csv"),
        "calibrate": _command("calibrate --data . --out o.json", _fergi(), _prepared(), "o.json"),
        "annotate": _command(
            "annotate --data . --signals au4 --rule paper --calibration s.json --out o.jsonl",
            {**_fergi(), **rule},
            (*_prepared(), *rule),
            "o.jsonl",
        ),
        "extract": _command("extract --videos a.csv --out o", {"a.csv": recordings, "a.mp4": b"no video"}, (), "o"),
    }


def _command(text: str, files: Files, damaged: tuple[str, ...], out: str) -> Kind:
    def opens(folder: Path) -> None:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            run(text.split())

    return Kind(files, opens, damaged, lambda folder: _whole(folder / out), (out,))


def _whole(path: Path) -> None:
    """Read an output, all of it."""
    if path.suffix == ".csv":
        rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
        if any(len(row) != len(rows[0]) for row in rows):
            raise ValueError(f"{path} has rows of several lengths")
    elif path.suffix == ".json":
        Calibration.load(path)
    elif path.suffix == ".jsonl":
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _trainers_options(path: Path) -> object:
    return read_options([RewardTrainingOptions, RewardBackpropConfig], ["--config", str(path)])


def _state(path: Path) -> object:
    """A state as a resuming run reads it: these errors are a sentence there."""
    try:
        return read_state(path)
    except (OSError, ValueError) as error:
        raise FergiRewardError(str(error)) from error


def _manifest() -> bytes:
    return _rows(["image", "prompt"], ["0.png", "a cat"], ["0.png", 'a "dog", two'], ["missing.png", "a"])


def _rows(*rows: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _calibration() -> bytes:
    return _in_folder(lambda folder: Calibration.shipped().save(folder / "a.json"))["a.json"]


def _prepared() -> tuple[str, ...]:
    return tuple(name for name in _fergi() if name.startswith("preparation"))


@cache
def _fergi() -> dict[str, bytes]:
    return _in_folder(lambda folder: write_simulated_fergi(folder, participants=4, sessions=2))


@cache
def _adapted() -> object:
    pipeline = tiny.stable_diffusion()
    add_lora(pipeline, rank=2, alpha=2, seed=0)
    return pipeline


def _save_predictor(folder: Path) -> None:
    sizes = HeadSizes(width=8, components=3, hidden=2, members=4)
    heads, draws = Heads(sizes), torch.Generator().manual_seed(0)
    for weight in heads.state_dict().values():
        weight.normal_(generator=draws)
    record = PredictorRecord(
        au_source="test",
        decay=0.4,
        tower="",
        dataset={"users": ["1"]},
        seed=0,
        command="",
        library_version="0",
        sizes=sizes,
        held_out=HeldOutFigures(50, 55, 100, 0.55, (0.51, 0.6), 0.1, (0.5, 0.8, 0.95)),
        residuals=Residuals(0.2, ((-0.5, 0.3), (-1.5, 0.5), (-2.5, 0.6))),
    )
    ReactionPredictor(record, heads.requires_grad_(False)).save(folder)


def _in_folder(write: Callable[[Path], object]) -> dict[str, bytes]:
    """What a function writes into a folder."""
    with tempfile.TemporaryDirectory() as name:
        write(folder := Path(name))
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        }


def _saved(value: object, *, zipped: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()
