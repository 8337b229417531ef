"""The documentation is true: links lead somewhere, options exist, examples are understood, tables are current."""

import ast
import configparser
import dataclasses
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import click
import pytest

from flyinglow.backend.default import DefaultOptions
from flyinglow.backend.lrm.adapters import adapter
from flyinglow.backend.lrm.policy import load as policy
from flyinglow.backend.lrm.policy import registry
from flyinglow.backend.lrm.settings.options import LrmOptions
from flyinglow.backend.lrm.settings.options import options as lrm_options
from flyinglow.backend.reach import LocalReach, SshReach
from flyinglow.cli.__main__ import app
from flyinglow.nodectl.config import Config as NodeConfig
from flyinglow.nodectl.config import load as load_node
from flyinglow.server.configuration.file import parse
from flyinglow.server.configuration.settings import Config

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="not the repository's own layout")

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("changes/*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
SHELL = ("console", "sh", "ini", "")


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    language: str
    text: str


BLOCKS = [Block(str(page.relative_to(ROOT)), *found) for page in PAGES for found in FENCE.findall(page.read_text())]


def blocks(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """Name a page's headings as hosting services do: lower case, hyphens for blanks, no other signs."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    broken = []
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        where, _, anchor = link.partition("#")
        target = (page.parent / where).resolve() if where else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_every_page_is_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in reached:
            continue
        reached.add(page)
        for link in LINK.findall(prose(page)):
            target = (page.parent / link.partition("#")[0]).resolve()
            todo += [target] if target.suffix == ".md" and target.exists() else sorted(target.glob("*.md"))
    assert not {str(page.relative_to(ROOT)) for page in set(PAGES) - reached}


def commands(block: Block) -> Iterator[list[str]]:
    """Give the words of each call of ``flyinglow`` in a block, from the subcommand on."""
    joined = block.text.replace("\\\n", " ")
    for line in joined.splitlines():
        words = re.sub(r"^(\$ |ExecStart=|sudo -u \w+ )", "", line).partition(" #")[0].split()
        if words and words[0].rpartition("/")[2] == "flyinglow":
            yield words[1:]


def unknown(words: list[str]) -> list[str]:
    """Return what of a command line the command does not know: a subcommand or an option."""
    command: click.Command = app
    context = click.Context(app)
    options = option_names(app)
    found = []
    for word in words:
        if word in {"|", ">", "&&", ";", "&"}:
            break
        if word.startswith("-"):
            found += [] if word.partition("=")[0] in options else [word]
        elif isinstance(command, click.Group):
            inner = command.get_command(context, word)
            if inner is None:
                return [word]
            command, options = inner, options | option_names(inner)
    return found


def option_names(command: click.Command) -> set[str]:
    names = {"--help", "-h"}
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            names.update(parameter.opts, parameter.secondary_opts)
    return names


def test_commands_and_options_exist() -> None:
    said = [(block.page, words) for block in blocks(*SHELL) for words in commands(block)]
    assert len(said) > 30
    assert not [(page, " ".join(words), unknown(words)) for page, words in said if unknown(words)]


def test_commands_named_in_a_sentence_exist() -> None:
    """In a sentence, words in capitals and dots stand for something."""
    wrong = {}
    for page in PAGES:
        for call in re.findall(r"`flyinglow ([^`]+)`", prose(page)):
            words = call.split()
            if not words[0].isupper() and words[0] != "..." and "|" not in words and (found := unknown(words)):
                wrong[f"{page.name}: {call}"] = found
    assert not wrong


def test_what_does_not_exist_is_found() -> None:
    assert unknown(["wait", "x", "--timeout", "1m"]) == []
    assert unknown(["admin", "node", "add", "n", "--memory", "1G"]) == []
    assert unknown(["admin", "node", "burn", "n"]) == ["burn"]
    assert unknown(["list", "--everything"]) == ["--everything"]


def test_shell_blocks_are_marked_by_what_they_may_do() -> None:
    """``console`` blocks are run by a test, so each line is a command; ``sh`` blocks change the system and are not."""
    assert not [block for block in blocks("console") for line in block.text.splitlines() if not line.startswith("$ ")]
    assert not [block for block in blocks("sh") if block.text.startswith("$")]
    known = {"console", "sh", "text", "toml", "json", "python", "ini", "sudoers", "mermaid", "xml", ""}
    assert {block.language for block in BLOCKS} <= known


@pytest.mark.parametrize("block", blocks("toml"), ids=lambda block: block.page)
def test_toml_is_understood(block: Block) -> None:
    if "administration" in block.page:
        parse(block.text, block.page)  # the service's own configuration
    else:
        assert tomllib.loads(block.text)


@pytest.mark.parametrize("name", [name for name in NAMES if "decisions" not in name])
def test_files_and_names_of_the_code_exist(name: str) -> None:
    """Decisions are left out: they tell of their day."""
    text = prose(ROOT / name)
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"tests", "tools", "docs"}
    paths = {path for path in re.findall(r"`([a-z][\w./-]*/[\w.-]*)`", text) if path.partition("/")[0] in folders}
    assert not {path for path in paths if not (ROOT / path).exists()}
    dotted = {each for each in re.findall(r"`(?:flyinglow\.)?(\w+\.[\w.]+)`", text) if each.split(".")[0] in folders}
    assert not {each for each in dotted if each.split(".")[-1] not in {"json", "wsdl"} and not known(each)}


def known(dotted: str) -> bool:
    """Say whether a module of the package, or a name in one, is there."""
    parts = ["flyinglow", *dotted.split(".")]
    module, _, name = ".".join(parts).rpartition(".")
    try:
        return hasattr(importlib.import_module(module), name) or bool(importlib.util.find_spec(".".join(parts)))
    except ModuleNotFoundError:
        return False


def keys() -> set[str]:
    """Return every key of the service's and a node's configuration, of a node's reach and of the back-end's options."""
    found = {key for value in _tables(Config) for key in value}
    kinds = [NodeConfig, LocalReach, SshReach, DefaultOptions, LrmOptions, *map(policy_options, registry.NAMES)]
    for kind in kinds:
        found |= {field.name for field in dataclasses.fields(kind)}
    return found


def policy_options(name: str) -> Any:
    """Return the dataclass of a policy's options."""
    return (registry._PLAIN.get(name) or registry._WRAPPERS[name])[0]


def _tables(kind: type) -> Iterator[set[str]]:
    yield {field.name for field in dataclasses.fields(kind)}
    for hint in typing.get_type_hints(kind).values():
        for inner in (hint, *typing.get_args(hint)):
            if dataclasses.is_dataclass(inner) and isinstance(inner, type):
                yield from _tables(inner)


OTHERS = {
    *("pg_dump", "authorized_keys"),  # programs and files
    *("args_given", "lrm_id"),  # fields of the log
    *("h_rt", "s_rt", "s_cpu", "kill_delay", "keep_completed", "job_history_enable"),  # schedulers' own settings
}


@pytest.mark.parametrize("name", ["configuration", "operation", "lrm", "slurm", "gridengine", "pbs"])
def test_keys_named_in_a_sentence_exist(name: str) -> None:
    text = prose(ROOT / "docs" / "administration" / f"{name}.md")
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)(?: = [^`]*)?`", text)) - OTHERS - set(registry.NAMES)
    assert named
    assert not named - keys() - {"base_options"}


@pytest.mark.parametrize(
    "block", [each for each in blocks("toml") if "lrm =" in each.text], ids=lambda block: block.page
)
def test_options_of_a_scheduler_are_understood(block: Block) -> None:
    made = lrm_options(tomllib.loads(block.text)["backend"]["options"])
    policy(made.policy, made.policy_options)
    adapter(made)


def test_every_policy_and_each_of_its_keys_is_named() -> None:
    text = (ROOT / "docs" / "administration" / "lrm.md").read_text().partition("## Policies")[2]
    rows = {row[0]: row[1] for row in re.findall(r"^\| `(\w+)` \|.*?\|(.*)\|$", text, re.MULTILINE)}
    rows.pop("policy")  # the head
    assert set(rows) == set(registry.NAMES)
    for name, row in rows.items():
        keys = {field.name for field in dataclasses.fields(policy_options(name))}
        assert keys == set(re.findall(r"`([a-z_]+)`", row)) - {"false"}, name


@pytest.mark.parametrize("block", blocks("json"), ids=lambda block: block.page)
def test_json_is_understood(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "nodectl.json"
    file.write_text(json.dumps(json.loads(block.text)))
    if "administration" in block.page:
        load_node(file)  # a node's own configuration


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.page)
def test_python_compiles(block: Block) -> None:
    ast.parse(block.text)


@pytest.mark.parametrize("tool", ["state_docs", "config_docs", "lrm_option_docs", "lrm_state_docs"])
def test_what_is_made_from_the_code_is_current(tool: str) -> None:
    argv = [sys.executable, str(ROOT / "tools" / f"{tool}.py"), "--check"]
    beside = {**os.environ, "PYTHONPATH": str(ROOT / "src")}  # the code beside these pages, whatever is installed
    done = subprocess.run(argv, env=beside, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_page_that_is_out_of_date_is_found(tmp_path: Path) -> None:
    for name in ("doc_blocks", "state_docs"):
        (tmp_path / "tools").mkdir(exist_ok=True)
        (tmp_path / "tools" / f"{name}.py").write_text((ROOT / "tools" / f"{name}.py").read_text())
    page = tmp_path / "docs" / "developers" / "states.md"
    page.parent.mkdir(parents=True)
    page.write_text(
        (ROOT / "docs" / "developers" / "states.md").read_text().replace("| Ended | nothing |", "| Ended | Running |")
    )
    argv = [sys.executable, str(tmp_path / "tools" / "state_docs.py")]
    assert subprocess.run([*argv, "--check"], capture_output=True, check=False).returncode == 1
    subprocess.run(argv, check=True)
    assert page.read_text() == (ROOT / "docs" / "developers" / "states.md").read_text()


def test_the_unit_leaves_machines_running() -> None:
    (block,) = blocks("ini")
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(block.text)
    assert unit["Service"]["KillMode"] == "process"
    assert unit["Service"]["ExecStart"].endswith("/flyinglow serve --config /etc/flyinglow/flyinglow.toml")
    assert not {"NoNewPrivileges", "PrivateTmp", "MemoryMax"} & set(unit["Service"])


def test_sudo_allows_two_lines_without_arguments() -> None:
    (block,) = blocks("sudoers")
    agent = "/opt/flyinglow/bin/flyinglow-nodectl"
    defaults, *rules = block.text.splitlines()
    assert defaults == f"Defaults!{agent} !requiretty, !use_pty"
    allowed = [line.partition("NOPASSWD: ")[2] for line in rules]
    assert allowed == [f"{agent} agent --stdio", f"{agent} kill-all"]


@pytest.mark.parametrize("image", sorted((ROOT / "docs").rglob("*.svg")), ids=lambda image: image.name)
def test_pictures_are_plain_and_have_a_title(image: Path) -> None:
    tree = ET.fromstring(image.read_text())
    names = {element.tag.rpartition("}")[2] for element in tree.iter()}
    assert "title" in names
    assert not names & {"script", "foreignObject", "image"}, "hosting services take these out"
