"""The one file that a job's script carries."""

import ast
import base64
import io
import zipfile

from flyinglow.pilot.bundle import bundle


def names() -> list[str]:
    return zipfile.ZipFile(io.BytesIO(bundle())).namelist()


def test_the_same_package_makes_the_same_bytes() -> None:
    first = bundle()
    bundle.cache_clear()
    assert bundle() == first


def test_it_is_small_enough_for_a_jobs_script() -> None:
    assert len(base64.b64encode(bundle())) < 512 * 1024


def test_it_holds_the_pilot_and_of_the_node_only_what_is_said_to_it() -> None:
    assert {name for name in names() if "nodectl" in name} == {
        f"flyinglow/nodectl/{name}.{kind}"
        for name in ("__init__", "errors", "framing", "lazily", "messages", "versions")
        for kind in ("py", "pyc")
    }
    assert {"__main__.py", "flyinglow/__init__.py", "flyinglow/pilot/__main__.py"} <= set(names())
    assert "flyinglow/pilot/bundle.py" not in names()


def test_all_that_it_imports_of_ours_is_in_it() -> None:
    archive = zipfile.ZipFile(io.BytesIO(bundle()))
    modules = {name[:-3].replace("/", ".").removesuffix(".__init__") for name in names()}
    for name in (name for name in names() if name.endswith(".py")):
        for node in ast.walk(ast.parse(archive.read(name))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("flyinglow"):
                wanted = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
                assert wanted & modules, (name, node.module)
                assert node.module in modules
