"""The house is in order: folders, links, sizes, names, and nothing in it that belongs to one machine."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINKS = ROOT / "src" / "flyinglow"
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
ON_NODES = ("nodectl", "pilot")
MOST_LINES = 300
EMPTY_NAMES = {"common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}
# Built from pieces, so that this file does not hold what it looks for.
REGISTRIES = ["pypi" + ".org", "python" + "hosted.org", "registry.npm" + "js.org", "deb.deb" + "ian.org"]
REGISTRIES += ["packag" + "ist.org", "--index" + "-url"]
HOMES = re.compile(r"(?<![\w.${}~])/(?:" + "|".join(["ro" + "ot", "wo" + "rk"]) + r")(?:/|\b(?![-\w]))")

# A source distribution holds ordinary folders below src/, and nothing of what is looked at here.
pytestmark = pytest.mark.skipif(not PACKAGES, reason="not the repository's own layout")


def files_in_git() -> list[Path]:
    """List what git keeps; skip the test where this is no clone."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git clone")
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    paths = (ROOT / name for name in listed.decode().split("\0") if name)
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def modules(*folders: str) -> list[Path]:
    """List the Python files below the given root folders."""
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def imported(module: Path) -> Iterator[str]:
    """Name every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


@pytest.mark.parametrize("package", PACKAGES)
def test_package_is_linked_to_its_namesake(package: str) -> None:
    link = LINKS / package
    assert link.is_symlink(), "git must be allowed to make symbolic links (core.symlinks)"
    assert link.readlink() == Path("..", "..", package)
    assert link.resolve() == ROOT / package


def test_link_folder_holds_nothing_else() -> None:
    here = {path.name for path in LINKS.iterdir()} - {"__pycache__"}
    assert here == {"__init__.py", "py.typed", *PACKAGES}


def test_modules_are_short() -> None:
    long = {}
    for path in modules(*PACKAGES, "tools"):
        lines = len(path.read_text().splitlines())
        if lines > MOST_LINES and "migrations" not in path.parts:
            long[str(path.relative_to(ROOT))] = lines
    assert not long


def test_modules_are_named_after_what_they_are() -> None:
    parts = {part for path in modules(*PACKAGES) for part in path.relative_to(ROOT).with_suffix("").parts}
    assert not parts & EMPTY_NAMES


def test_modules_say_what_they_are_for() -> None:
    silent = [path for path in modules(*PACKAGES) if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


def test_every_module_imports() -> None:
    """What no other test imports would also be missing from the coverage report."""
    for path in modules(*PACKAGES):
        if "migrations" not in path.parts:
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            importlib.import_module(f"flyinglow.{name.removesuffix('.__init__')}")


def test_what_is_imported_is_declared() -> None:
    """Else it works only where a tool happened to bring it along."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    declared = {re.split(r"[^\w.-]", line)[0].lower() for line in lines}
    providers = metadata.packages_distributions()
    names = {name.partition(".")[0] for module in modules(*PACKAGES) for name in imported(module)}
    foreign = names - sys.stdlib_module_names - {"flyinglow"}
    assert {
        name
        for name in foreign
        if not declared & {found.lower().replace("_", "-") for found in providers.get(name, [])}
    } == set()


@pytest.mark.parametrize("module", modules(*ON_NODES), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_runs_on_nodes_needs_nothing_but_python(module: Path) -> None:
    ours = tuple(f"flyinglow.{folder}" for folder in ON_NODES)
    foreign = {
        name
        for name in imported(module)
        if name.partition(".")[0] not in sys.stdlib_module_names and not name.startswith(ours) and name != "flyinglow"
    }
    assert not foreign


def test_no_file_names_a_registry_or_a_place_on_one_machine() -> None:
    found = []
    for path in files_in_git():
        text = path.read_text(errors="replace")
        if any(address in text for address in REGISTRIES) or HOMES.search(text):
            found.append(str(path.relative_to(ROOT)))
    assert found == []


@pytest.mark.parametrize(
    ("text", "belongs_to_a_machine"),
    [
        ("cd /ro" + "ot/x", True),
        ("/wo" + "rk/main", True),
        ("file:///wo" + "rk", True),
        ("$HOME/wo" + "rk", False),
        ("a/ro" + "ot", False),
        ("/wo" + "rkspace/1", False),
        ("run/wo" + "rk/", False),
    ],
)
def test_places_on_one_machine_are_told_from_others(text: str, belongs_to_a_machine: bool) -> None:
    assert bool(HOMES.search(text)) is belongs_to_a_machine


@pytest.mark.xdist_group("layout")
def test_groups_of_tests_stay_together(request: pytest.FixtureRequest) -> None:
    """What cannot run beside itself would, without a word, where pytest and pytest-xdist do not fit each other."""
    if not hasattr(request.config, "workerinput"):
        pytest.skip("not side by side")
    assert request.node.nodeid.endswith("@layout")
