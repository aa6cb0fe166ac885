"""The page's files, read as texts: what a browser would notice late or not at all."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import fergi_reward.collect

COLLECT = Path(fergi_reward.collect.__file__).parent
PAGE = COLLECT / "page"
OWN = sorted(path for path in PAGE.rglob("*") if path.is_file() and "runtime" not in path.relative_to(PAGE).parts)
SCRIPTS = [path for path in OWN if path.suffix == ".js"]
PAGES = [path for path in OWN if path.suffix == ".html"]
LANGUAGES = [path for path in OWN if path.parent.name == "strings"]

# t("key"), t(`prefix.${...}`), t(condition ? "one" : "other")
CALL = re.compile(r"\bt\(((?:[^()]|\([^()]*\))*)")
KEY = re.compile(r'"([a-z_]+(?:\.[a-z_]+)*)"')
PREFIX = re.compile(r"`([a-z_.]+\.)\$\{")


def strings(path: Path) -> dict[str, str]:
    pairs = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=list)
    assert len(dict(pairs)) == len(pairs), f"{path.name} has a key twice"
    return dict(pairs)


ENGLISH = strings(PAGE / "strings" / "en.json")


def calls(script: Path) -> str:
    """The arguments of all calls of t in a script, one call per line."""
    return "\n".join(CALL.findall(script.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", LANGUAGES, ids=lambda path: path.stem)
def test_a_language_has_all_words_with_their_places(path):
    words = strings(path)
    assert list(words) == list(ENGLISH)
    for key, text in words.items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", ENGLISH[key])), key
        assert text.strip() == text != "", key


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.relative_to(PAGE).as_posix())
def test_every_word_that_a_script_asks_for_is_there(script):
    asked = calls(script)
    literals = re.sub(r"`[^`]*`", "", asked)
    literals = re.sub(r"[=!]== \"\w+\"", "", literals)  # compared, not asked for
    missing = [key for key in KEY.findall(literals) if key not in ENGLISH]
    assert missing == []
    for prefix in PREFIX.findall(asked):
        assert any(key.startswith(prefix) for key in ENGLISH), prefix


def test_every_word_is_asked_for():
    asked = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    prefixes = tuple(PREFIX.findall(asked))
    unused = [key for key in ENGLISH if f'"{key}"' not in asked and not key.startswith(prefixes)]
    assert unused == []


@pytest.mark.parametrize("path", [*SCRIPTS, *PAGES], ids=lambda path: path.relative_to(PAGE).as_posix())
def test_texts_never_become_code_and_nothing_is_fetched_elsewhere(path):
    text = path.read_text(encoding="utf-8")
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setTimeout\(\s*[\"'`]"
    assert re.findall(forbidden, text) == []
    assert re.findall(r"[\"'`(]\s*(?:https?:|wss?:)?//\w[^\s\"'`)]*", text) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_has_neither_script_nor_style_within_it(path):
    found = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            names = dict(attributes)
            found.extend(name for name in names if name == "style" or name.startswith("on"))
            if tag == "style" or (tag == "script" and "src" not in names):
                found.append(tag)
            address = names.get("src") or names.get("href")
            if address is not None and not (PAGE / address.removeprefix("/static/")).is_file():
                found.append(address)

    Reader().feed(path.read_text(encoding="utf-8"))
    assert found == []


def test_what_a_script_imports_is_there():
    missing = []
    for script in SCRIPTS:
        for name in re.findall(r'^(?:import|export) .*?from "(.+?)";', script.read_text(encoding="utf-8"), re.M | re.S):
            at = PAGE / name.lstrip("/") if name.startswith("/runtime/") else script.parent / name
            if not name.startswith("/runtime/") and not at.is_file():
                missing.append(f"{script.name}: {name}")
    assert missing == []


def test_the_participants_page_is_light():
    """Without the model, its runtime and what films; two languages, since what one lacks is said in English."""
    loaded = [path for path in OWN if "operator" not in path.relative_to(PAGE).as_posix() and path.name != "film.js"]
    assert sum(path.stat().st_size for path in loaded) < 120_000


def test_the_runtime_is_pinned_by_version_and_hash_and_names_no_registry():
    wanted = json.loads((COLLECT / "package.json").read_text())["dependencies"]
    text = (COLLECT / "package-lock.json").read_text()
    lock = json.loads(text)["packages"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", wanted["@mediapipe/tasks-vision"])
    assert set(lock) == {"", "node_modules/@mediapipe/tasks-vision"}
    locked = lock["node_modules/@mediapipe/tasks-vision"]
    assert locked["version"] == wanted["@mediapipe/tasks-vision"]
    assert locked["integrity"].startswith("sha512-")
    assert "resolved" not in text
    assert "http" not in text


def test_the_runtime_is_one_that_does_not_report():
    """From 0.10.35 on MediaPipe for Python reports to its vendor, and tasks-vision 1.1 names an address for it."""
    version = json.loads((COLLECT / "package.json").read_text())["dependencies"]["@mediapipe/tasks-vision"]
    assert tuple(map(int, version.split("."))) < (0, 10, 35)
    module = PAGE / "runtime" / "vision_bundle.mjs"
    if not module.is_file():
        pytest.skip("no runtime of the page: run `make collect-runtime`")
    assert re.findall(r"https?://\w[^\"'`\s]*", module.read_text(encoding="utf-8")) == []
