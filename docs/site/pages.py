"""What the site has in addition to the pages of docs/: those of the root, options of commands, public names.

MkDocs calls the functions whose names begin with `on_`. Pages are written for the forge: their links name files of the
repository. Here these become links between pages; one that leads nowhere is a warning, with which a strict build fails.
"""

import ast
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from fergi_reward.cli.app import make_app
from fergi_reward.cli.overview import COMMANDS
from fergi_reward.cli.train import add_trainers

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "fergi_reward"
# Page of the site: file of the repository.
OF_THE_ROOT = {
    "index.md": "README.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
    "PROGRAMS.md": "eval/README.md",
    "CITATION.cff": "CITATION.cff",
}
FENCED = re.compile(r"^(```.*?^```)$", re.M | re.S)
# A block that begins so is for a shell.
COMMAND = "fergi-reward |pip |python |make |TOYS=|torchrun "
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(#[^)\s]+)?\)")
MENTIONED = re.compile(r"(?<![\w/`\[(])docs/([A-Z_]+\.md)")
log = logging.getLogger("mkdocs.hooks.pages")


def on_config(config: MkDocsConfig) -> None:
    """Name the generated pages in the navigation, and pages of docs/ for which it has no place."""
    sections: dict[str, list[Any]] = {name: pages for entry in config.nav or [] for name, pages in entry.items()}
    sections["Reference"][:0] = [
        {"Commands": [f"commands/{name}.md" for name in COMMANDS]},
        {"Python": [f"python/{folder}.md" for folder in public_names()]},
    ]
    pages = {path.relative_to(config.docs_dir).as_posix() for path in Path(config.docs_dir).rglob("*.md")}
    sections["In depth"] += sorted(pages - set(re.findall(r"[\w/]+\.md", str(config.nav))))


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages that do not lie in docs/."""
    for page, source in OF_THE_ROOT.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for page, text in [*commands(), *python_reference()]:
        files.append(File.generated(config, page, content=text))


def commands() -> Iterator[tuple[str, str]]:
    """A page per command: what `--help` says, as cyclopts writes it."""
    add_trainers([])
    app = make_app()
    del app["train"]["prompt_grpo"]  # most of its options are TRL's own, and TRL would be imported
    text = app.generate_docs().replace(" -m mkdocs", "")  # the program that runs, which cyclopts names in groups
    for section in re.split(r"^#(?=# fergi-reward )", text, flags=re.M)[1:]:
        name = section.split()[2]
        yield f"commands/{name}.md", re.sub(r"^###", "##", section, flags=re.M)


def public_names() -> dict[str, dict[str, str]]:
    """By folder, its public names and where each is defined: what type checkers see in its `__init__`."""
    found = {}
    for init in [PACKAGE / "__init__.py", *sorted(PACKAGE.glob("*/__init__.py"))]:
        tree = ast.parse(init.read_text(encoding="utf-8"))
        blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
        imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
        names = {name.asname: str(node.module) for node in imports for name in node.names if name.asname}
        if names:
            found[".".join(init.parent.relative_to(ROOT).parts)] = names
    return found


def python_reference() -> Iterator[tuple[str, str]]:
    """A page per folder with its public names, which mkdocstrings fills from the docstrings."""
    seen = set()
    for folder, names in public_names().items():
        lines = [f"# {folder}", ""]
        places = [f"{module}.{name}" for name, module in sorted(names.items())]
        if elsewhere := [f"[`{place.split('.')[-1]}`][{place}]" for place in places if place in seen]:
            lines += [f"Also exported, and described elsewhere: {', '.join(elsewhere)}.", ""]
        lines += [f"::: {place}\n" for place in places if place not in seen]
        seen.update(places)
        yield f"python/{folder}.md", "\n".join(lines)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links lead to pages, and blocks that name their file show it."""
    parts = FENCED.split(markdown)
    for number, part in enumerate(parts):
        if number % 2:
            part = re.sub(r"^```(\w+) (\S+)\n", r'```\1 title="\2"\n', part)
            parts[number] = re.sub(rf"^```(?=\n({COMMAND}))", "```bash", part)
        else:
            part = re.sub(r"^ {2,3}(?=\S)", "    ", part, flags=re.M)  # Python-Markdown asks for four spaces in lists
            part = MENTIONED.sub(lambda found: f"[{found[0]}]({relative(found[1], page)})", part)
            parts[number] = LINK.sub(lambda found: f"]({led(found[1], page)}{found[2] or ''})", part)
    return "".join(parts)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Mark short code, which the style keeps in one line: browsers would break it after the dashes of an option."""
    return re.sub(r"<code>(?=[^<>]{1,26}</code>)", '<code class="short">', html)


def led(link: str, page: Page) -> str:
    """A link between files of the repository as one between pages of the site."""
    source = OF_THE_ROOT.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    target = os.path.normpath(PurePosixPath(source).parent / link)
    by_source = {of_the_root: of_the_site for of_the_site, of_the_root in OF_THE_ROOT.items()}
    if target in by_source:
        return relative(by_source[target], page)
    return relative(target.removeprefix("docs/"), page) if target.startswith("docs/") else link


def relative(target: str, page: Page) -> str:
    """A page as seen from another one."""
    return os.path.relpath(target, PurePosixPath(page.file.src_uri).parent)
