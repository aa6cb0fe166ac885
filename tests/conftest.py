"""Fixtures that every test may use."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pandas as pd
import pytest

from fergi_reward.core.interrupts import SIGNALS
from fergi_reward.data.simulated import write_simulated_fergi
from fergi_reward.reactions.folder import MANIFEST_COLUMNS, ReactionFolder
from tests.forked import Forked
from tests.hub_server import HubServer, contents

if TYPE_CHECKING:
    from fergi_reward.faces.predictor import ReactionPredictor
    from fergi_reward.scorers.pickscore import PickScorer
    from tests.pretended_gpu import Card

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def signals_as_in_a_terminal() -> None:
    """Programs that a script starts in the background ignore Ctrl-C, and after nohup a hang-up too."""
    for number in SIGNALS:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder with the golden scores: FERGI_REFERENCE, else ../shared/reference next to the repository."""
    return _folder("FERGI_REFERENCE", SHARED / "reference", "golden scores")


@pytest.fixture(scope="session")
def checkpoints(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one checkpoint folder per small reference model, in the hub's layout, written once a session."""
    folder = tmp_path_factory.mktemp("checkpoints")
    made = Forked([reference / "make_checkpoints.py", folder])
    assert made.wait() == 0, made.stderr
    return folder


@pytest.fixture(scope="session")
def fergi() -> Path:
    """The FERGI folder: FERGI_DATA, else ../shared/fergi next to the repository."""
    return _folder("FERGI_DATA", SHARED / "fergi", "FERGI data")


def _folder(variable: str, default: Path, what: str) -> Path:
    """The folder, or a skip that says why; in CI a missing folder is a failure."""
    folder = Path(os.environ.get(variable, default))
    if not folder.is_dir():
        _not_here(f"no {what} in {folder} ({variable})")
    return folder


def _not_here(reason: str) -> NoReturn:
    """Leave a test that lacks what it needs: a skip, in CI a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def not_here() -> Callable[[str], NoReturn]:
    """A function that leaves a test for the reason given: a skip, in CI a failure."""
    return _not_here


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small simulated FERGI; tests that break it copy it first."""
    folder = tmp_path_factory.mktemp("simulated")
    write_simulated_fergi(folder, participants=4, sessions=3, seed=1)
    return folder


@pytest.fixture(scope="session")
def write_extracted() -> Callable[[Path, pd.DataFrame, str], Path]:
    """A function that writes rows of user, session, image, measures of AU4 and perhaps kind as `extract` would have."""

    def write(path: Path, rows: pd.DataFrame, source: str) -> Path:
        common = dict.fromkeys(MANIFEST_COLUMNS, "1") | {"source": source, "kind": "reaction"}
        units = [name for name in rows if name.startswith("au4")]
        columns = rows.columns.intersection([*MANIFEST_COLUMNS, *units])
        ReactionFolder(path).write_rows([common | row for row in rows[columns].to_dict("records")], units)
        return path

    return write


@pytest.fixture
def card() -> "Iterator[Card]":
    """A pretended GPU while the test runs: see tests/pretended_gpu.py."""
    from tests.pretended_gpu import pretended_gpu

    with pretended_gpu() as card:
        yield card


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports are written as texts alone, as without the extra `report`: what is in them takes no time to draw."""
    monkeypatch.setitem(sys.modules, "fergi_reward.report.page", None)


@pytest.fixture(scope="session")
def forked() -> type[Forked]:
    """What starts a Python program in processes of its own within a fraction of a second: see tests/forked.py."""
    return Forked


@pytest.fixture(scope="session")
def two_processes() -> Callable[[list[str]], "subprocess.Popen[str]"]:
    """A function that starts a Python command in two processes, as users of accelerate do, which takes many seconds."""

    def start(command: list[str]) -> "subprocess.Popen[str]":
        # With --cpu accelerate starts one process, whatever their number; with --multi_gpu as many as are asked for.
        options = ["--multi_gpu", "--num_processes", "2", "--main_process_port", "0"]
        return subprocess.Popen(
            [sys.executable, "-m", "accelerate.commands.launch", *options, *command],
            env={**os.environ, "ACCELERATE_USE_CPU": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture(scope="session")
def predictor_for() -> "Callable[..., ReactionPredictor]":
    """A function that makes a predictor with random heads for a PickScore; further arguments change its record."""
    import torch

    from fergi_reward.faces.heads import Heads, HeadSizes
    from fergi_reward.faces.judging import HeldOutFigures, Residuals
    from fergi_reward.faces.predictor import PredictorRecord, ReactionPredictor

    def make(reads: "PickScorer", *, ci95: tuple[float, float] = (0.51, 0.6), **changes: object) -> ReactionPredictor:
        sizes = HeadSizes(width=reads.model.config.projection_dim, components=3, hidden=2, members=4)
        residuals = Residuals(0.2, ((-0.5, 0.3), (-1.5, 0.5), (-2.5, 0.6)))
        held_out = HeldOutFigures(50, 55, 100, 0.55, ci95, 0.1, (0.5, 0.8, 0.95))
        made = {"au_source": "test", "decay": 0.4, "tower": reads.fingerprint(), "dataset": {"users": ["1"]}}
        made |= {"seed": 0, "command": "", "library_version": "0"}
        record = PredictorRecord(sizes=sizes, held_out=held_out, residuals=residuals, **made | changes)
        heads, draws = Heads(sizes), torch.Generator().manual_seed(0)
        for weight in heads.state_dict().values():
            weight.normal_(generator=draws)
        return ReactionPredictor(record, heads.requires_grad_(False))

    return make


@pytest.fixture(scope="session")
def published_toys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """Toys under the names of the published scorers and Stable Diffusion: repository -> file -> content."""
    import torch
    from transformers import CLIPImageProcessor

    from fergi_reward.toy import emoji, tiny

    folder = tmp_path_factory.mktemp("published")
    tiny.clip().model.save_pretrained(folder / "clip")
    (folder / "head").mkdir()
    head = {f"layers.{key}": value for key, value in tiny.aesthetic().head.state_dict().items()}
    torch.save(head, folder / "head" / "aesthetic-model.pth")
    pipeline = tiny.stable_diffusion()
    pipeline.register_modules(feature_extractor=CLIPImageProcessor())
    pipeline.save_pretrained(folder / "sd")
    index = json.loads((folder / "sd" / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]  # which is not downloaded
    (folder / "sd" / "model_index.json").write_text(json.dumps(index))
    toys = {name: contents(place) for name, place in emoji.checkpoints().items()}
    weights = toys["hps_v2"]["HPS_v2_compressed.pt"]
    return {
        "THUDM/ImageReward": {name: toys["image_reward"][name] for name in ("ImageReward.pt", "med_config.json")},
        "google-bert/bert-base-uncased": {"vocab.txt": toys["image_reward"]["vocab.txt"]},
        "yuvalkirstain/PickScore_v1": toys["pickscore"],
        "xswu/HPSv2": {"HPS_v2_compressed.pt": weights, "HPS_v2.1_compressed.pt": weights},
        "openai/clip-vit-large-patch14": contents(folder / "clip"),
        "trl-lib/ddpo-aesthetic-predictor": contents(folder / "head"),
        "stable-diffusion-v1-5/stable-diffusion-v1-5": contents(folder / "sd"),
    }


@pytest.fixture
def hub(
    published_toys: dict[str, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[HubServer]:
    """A hub on this machine that has the toys, and an empty cache for it."""
    server = HubServer({repository: dict(files) for repository, files in published_toys.items()})
    constants = "huggingface_hub.constants."
    monkeypatch.setattr(f"{constants}ENDPOINT", server.url)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(f"{constants}HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(f"{constants}HF_HUB_CACHE", str(tmp_path / "hub"))
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def rewriter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a chat model with random weights that knows a dozen words."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    from fergi_reward.toy import tiny

    words_known = ["[PAD]", "[EOS]", "[UNK]", "a", "red", "blue", "green", "cat", "house", "chair", "lake", "on", "by"]
    folder = tmp_path_factory.mktemp("rewriter")
    words = Tokenizer(WordLevel({word: number for number, word in enumerate(words_known)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    template = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
    names = {"pad_token": "[PAD]", "eos_token": "[EOS]", "unk_token": "[UNK]", "chat_template": template}
    PreTrainedTokenizerFast(tokenizer_object=words, **names).save_pretrained(folder)
    with tiny.seeded(0):
        sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
        heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64}
        ends = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
        Qwen2ForCausalLM(Qwen2Config(vocab_size=len(words_known), **sizes, **heads, **ends)).save_pretrained(folder)
    return folder


STARTS_PROCESSES = {"forked", "two_processes", "cluster", "environment", "run"}


@pytest.hookimpl(wrapper=True)
def pytest_collect_file() -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Tests hold no doctests: looking for some would make a skip of a test file that cannot be imported."""
    return [each for each in (yield) if type(each) is pytest.Module]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses the data, so that `-m "not fergi"` deselects it, and begin with the files that take longest.

    These start processes or train. With two workers the end comes when the last file does.
    """
    for item in items:
        for name, fixture in (("reference", "reference"), ("fergi", "fergi"), ("pyfeat", "feat")):
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(name)
    long = {item.path for item in items if STARTS_PROCESSES & {*getattr(item, "fixturenames", ())}}
    items.sort(key=lambda item: (item.path not in long, "trainers" not in item.path.parts))
