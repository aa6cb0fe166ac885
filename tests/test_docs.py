"""What README and docs point to is there, and what they tell to type works as it stands there.

Every block runs, page by page and from top to bottom, in a folder with what a reader would bring. Of what a block says
only names of the hub and of GPUs are replaced, and a toy draws in few steps. Whatever cannot run is in one of two
tables, with its reason.
"""

import ast
import io
import re
import shlex
import shutil
import sys
import tomllib
from contextlib import chdir, redirect_stdout
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from accelerate.state import AcceleratorState
from PIL import Image

from fergi_reward import CombinedReward, adapters
from fergi_reward.cli.config_file import config_path
from fergi_reward.data.fergi import read_fergi
from fergi_reward.diffusion import family_of
from fergi_reward.scorers.hps import HPSv2Scorer
from fergi_reward.scorers.image_reward import ImageRewardScorer
from fergi_reward.scorers.pickscore import PickScorer
from fergi_reward.scorers.registry import load_scorer
from fergi_reward.toy import emoji, tiny
from tests.command_line import commands as known_commands
from tests.command_line import invoke
from tests.served import serving

ROOT = Path(__file__).parents[1]
TO_BE_WRITTEN = re.compile(r"NAME|HOST")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
# Pages with lines that are pasted into a script, whose names they use.
PASTED = {ROOT / "README.md", ROOT / "docs/ADAPTERS.md", ROOT / "docs/EXPORT.md", *(ROOT / "docs/hosts").glob("*.md")}
OURS = re.compile(r"(?<![\w/.])(?:training|eval|configs|docs|tests|fergi_reward)/[\w/]*\w\.(?:py|yaml|txt|md|png)")
BLOCK = re.compile(r"^```(\w*)(?: (\S+))?\n(.*?)^```$", re.M | re.S)
SHELL = ("fergi-reward", "TOYS=", "python", "make", "pip")

# The options of these are checked; why they are not run.
PARSED = {
    "serve": "it ends by a signal only: tests/serve",
    "extract": "videos of faces and their model: tests/reactions/test_extract.py",
    "fit-predictor": "many reactions, half a minute: tests/faces/test_run.py",
    "map-source": "two folders of reactions: tests/reactions/test_source_map_fit.py",
    "evaluate": "FERGI, a benchmark from the hub, trained adapters: tests/evaluation",
    "annotate --reactions": "FERGI: tests/annotation/test_run.py",
    "download face_landmarker": "a model of 3.8 MB: tests/hub",
    "collect": "a server that ends by a signal, browsers: tests/collect",
    "calibrate --data study/": "what participants of collect left: tests/collect",
    "score --images study/": "likewise",
    "forget p-": "likewise",
}
# Nothing of these is run here: what they install or make is what the tests run in.
NOT_RUN = ("make demo", "make test", "pip install -e", "python -m pytest", "pip install --no-index", "pip show")
# What asks a package index; tests/test_wheelhouse.py runs it without one.
NOT_RUN += ("make wheelhouse",)
# What a block is about that no reader has apart from a camera.
NEEDS_A_CAMERA = "backend.measure(camera())"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_files_that_are_named_exist(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [name for name in OURS.findall(text) if not TO_BE_WRITTEN.search(name) and not (ROOT / name).exists()]
    assert not missing


@pytest.fixture
def readers_folder(tmp_path, monkeypatch, hub, brought):
    """A folder of the page's own with what readers bring; and a hub."""
    monkeypatch.chdir(tmp_path)
    for scorer in (ImageRewardScorer, PickScorer, HPSv2Scorer):
        folder = emoji.checkpoints()["hps_v2" if scorer is HPSv2Scorer else scorer.name]
        monkeypatch.setattr(scorer, "default_checkpoint", str(folder))
    shutil.copytree(brought, tmp_path, dirs_exist_ok=True)
    yield tmp_path
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def brought(tmp_path_factory, simulated, write_extracted, predictor_for):
    """What readers bring: pictures, a manifest, ratings, reactions and a predictor."""
    with chdir(tmp_path_factory.mktemp("brought")):
        write_brought(simulated, write_extracted, predictor_for)
        return Path.cwd()


def write_brought(simulated, write_extracted, predictor_for):
    names, draws = ["cat_1.png", "cat_2.png"], np.random.default_rng(0)
    images = read_fergi(simulated).images.astype({"user": str, "session": str, "image": str})
    images["image"] = images["user"] + "_" + images["session"] + "_" + images["image"] + ".png"
    for name in [*names, *images["image"]]:
        Image.fromarray(draws.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(name)
    pd.DataFrame({"image": names, "prompt": "a red cat"}).to_csv("manifest.csv", index=False)
    Path("prompts.txt").write_text("a red cat\n")
    people = dict(zip(images["user"].unique(), ["ann", "bob", "cem", "dee"], strict=True))
    images = images.assign(user=images["user"].map(people))
    ratings = images[["user", "session", "image", "rank"]].assign(prompt="a red cat")
    ratings.to_csv("ratings.csv", index=False)
    images.to_csv("my_ratings.csv", index=False)
    seen = images[images["au4"].notna()]
    write_extracted(Path("reactions"), seen, "mediapipe-landmarks")
    write_extracted(Path("new_people"), seen.assign(user="new " + seen["user"]), "mediapipe-landmarks")
    predictor_for(PickScorer.from_pretrained(emoji.checkpoints()["pickscore"]), au_source="fergi-ir50").save(
        "predictor"
    )
    # What the toys have in addition to the files of the scorers whose names they bear: sizes and a tokenizer.
    for name, folder in emoji.checkpoints().items():
        shutil.copytree(folder, Path("models", name), ignore=shutil.ignore_patterns("*.pt", "*.safetensors"))


@pytest.fixture(scope="module")
def replaced(rewriter, server, tmp_path_factory):
    """Names of the hub and of GPUs, and what stands for them here."""
    pipeline = tmp_path_factory.mktemp("toy") / "sd15"
    tiny.stable_diffusion().save_pretrained(pipeline)
    names = {'"stable-diffusion-v1-5/stable-diffusion-v1-5"': repr(str(pipeline)), '"cuda"': '"cpu"'}
    names |= {'load_scorer("clip", device="cuda")': "lambda pixels, prompts: pixels[:, 0].mean((1, 2))"}
    names |= {"127.0.0.1:8000": f"127.0.0.1:{server.port}"}
    names |= {"num_inference_steps=20": "num_inference_steps=1"}
    names |= {"sample_num_steps=5": "sample_num_steps=2"}
    names |= {"--participants 30 --sessions 18": "--participants 5 --sessions 2"}
    names |= {" stable-diffusion-v1-5/stable-diffusion-v1-5 ": " tiny --steps 4 "}
    names |= {"args = GRPOConfig(": "args = GRPOConfig(use_cpu=True, bf16=False, "}
    on_cpu = "reward_funcs=reward, args=__import__('trl').GRPOConfig('grpo', use_cpu=True, bf16=False), "
    names |= {"reward_funcs=reward, ": on_cpu}
    return names | {'"Qwen/Qwen2.5-0.5B-Instruct"': repr(str(rewriter))}


@pytest.fixture(scope="module")
def server():
    """What answers at the address of docs/SERVING.md."""
    with serving() as running:
        yield running


def host_names(page):
    """What scripts have at the place where lines are pasted; pages of hosts import what is this package's."""
    device = torch.device("cpu")
    pixels, prompts = torch.rand(2, 3, 32, 32), ["a cat", "a dog"]
    accelerator = SimpleNamespace(device=device)
    names = {"device": device, "accelerator": accelerator, "self": SimpleNamespace(accelerator=accelerator)}
    names |= {"DDPOTrainer": lambda *_: None, "config": SimpleNamespace(), "prompt_function": None}
    pipeline = tiny.stable_diffusion()
    pipeline.set_progress_bar_config(disable=True)
    names |= {"pipeline": pipeline, "trained": [*pipeline.unet.parameters()], "steps": 1, "train": lambda step: None}
    return names | {
        "images": pixels,
        "latents": torch.randn(2, *family_of(pipeline).latent_shape, requires_grad=True),
        "my_reward": lambda pixels, prompts: pixels.mean((1, 2, 3)),
        "tracker": SimpleNamespace(log=print),
        "prompts": prompts,
        "reward_losses": [],
        **({} if page.parent.name == "hosts" else {"CombinedReward": CombinedReward, "torch": torch}),
    }


# The loops with guards take one step here.
@pytest.mark.filterwarnings("ignore:the judges liked step 0 best")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_tells_to_type_works(page, readers_folder, replaced, monkeypatch):
    namespace = {"__name__": "__main__"} | (host_names(page) if page in PASTED else {})
    flow_factory = ModuleType("flow_factory.rewards")
    flow_factory.PointwiseRewardModel = type("PointwiseRewardModel", (), {})
    monkeypatch.setitem(sys.modules, "flow_factory.rewards", flow_factory)
    printed = ""
    for language, file, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        for name, toy in replaced.items():
            text = text.replace(name, toy)
        if language == "python":
            write_module(text, monkeypatch)
            run_python(text, namespace)
        elif language == "yaml":
            assert yaml.safe_load(text)
        elif language == "csv":
            Path(file).write_text(text)
        elif language == "text":
            assert text.strip() in printed
        elif language == "toml":
            install(tomllib.loads(text)["project"])
        elif text.startswith(SHELL):
            for command in commands(text):
                printed = run_command(command)
        else:
            assert language == "" and re.match(r"\||[a-z]+(,[a-z]+)+\n", text), f"nobody runs this:\n{text}"


def write_module(text, monkeypatch):
    """A block that says which file it is can be imported."""
    if file := re.match(r"# ((\w+)\.py)\n", text):
        Path(file[1]).write_text(text)
        monkeypatch.delitem(sys.modules, file[2], raising=False)
        monkeypatch.syspath_prepend(Path.cwd())


def install(project):
    """What pip would leave of a package: its entry points."""
    place = Path(f"{project['name']}-{project['version']}.dist-info")
    place.mkdir()
    head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (place / "METADATA").write_text(head)
    lines = [
        line
        for group, points in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {target}" for name, target in points.items()))
    ]
    (place / "entry_points.txt").write_text("\n".join(lines))
    scorers = project["entry-points"].get("fergi_reward.scorers", {})
    assert [load_scorer(name).name for name in scorers] == list(scorers)


def run_python(text, namespace):
    if NEEDS_A_CAMERA in text:
        text = "".join(ast.unparse(node) + "\n" for node in ast.parse(text).body if isinstance(node, ast.ImportFrom))
    if "output.terms" in text and "output = " not in text:  # which says that it is that of a reward
        namespace["output"] = namespace["reward"].score(namespace["images"], namespace["prompts"])
    with redirect_stdout(io.StringIO()):
        exec(compile(text, "a block", "exec"), namespace)


def commands(text):
    """Each command of a block as its words, with what `TOYS=$(python -c "...")` stands for."""
    if shown := re.match(r'TOYS=\$\(python -c "(.*)"\)\n', text):
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(shown[1], {})
        text = text.removeprefix(shown[0]).replace("$TOYS", printed.getvalue().strip())
    lines = re.findall(r"""(?:"[^"]*"|[^"\n])+""", text.replace("\\\n", " "))
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def run_command(words):
    """What a command prints; nothing where it is not run."""
    if " ".join(words).startswith(NOT_RUN):
        return ""
    if words[:2] == ["python", "-c"]:
        exec(words[2], {})
    elif words[:2] == ["fergi-reward", "train"]:
        parse_training(words[1:])
    else:
        assert words[0] == "fergi-reward", words
        if " ".join(words[1:]).startswith(tuple(PARSED)):
            parse(words[1:])
        else:
            result = invoke(words[1:])
            assert result.exit_code == 0, (words, result.output)
            return result.stdout
    return ""


def parse(words):
    """The command and every option exist; values must be right where they are used."""
    every = known_commands()
    name = next(name for name in (" ".join(words[:2]), words[0]) if name in every)
    known = {f"--{option.rstrip('_').replace('_', '-')}" for option in every[name].options}
    assert {word.split("=")[0] for word in words if word.startswith("--")} <= known, words


def parse_training(words):
    """The trainer and its configuration are there, and every option after it is one of the trainer's."""
    assert config_path(words[words.index("--config") + 1]).is_file()
    known = known_commands()[f"train {words[1]}"].options
    assert {word[2:].replace("-", "_") for word in words if word.startswith("--")} <= set(known)


def test_every_adapter_is_in_the_table_and_has_lines_to_paste():
    rows = re.findall(r"^\| .*", (ROOT / "docs" / "ADAPTERS.md").read_text(encoding="utf-8"), re.M)
    hosts = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "hosts").glob("*.md"))
    blocks = [text for language, _, text in BLOCK.findall(hosts) if language != ""]
    for name in adapters.__all__:
        if name[0].isupper():
            assert sum(f"`{name}`" in row for row in rows) == 1
            assert any(name in block for block in blocks)
