"""The process that evaluates expressions, so that one that never ends can be stopped: run by its path, lxml only.

Reads requests from standard input and writes an answer to each on standard output: a length of four bytes, then JSON.
An empty answer comes first, when it is ready.
A request is ``{"document": text, "queries": [{"text", "namespaces"}], "want": "truth" | "value"}``; an answer is
``{"results": [{"truth": bool} | {"parts": [[kind, text], ...]} | {"error": words}]}``, where
kind is ``element`` or ``text``.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any, BinaryIO

from lxml import etree

MEMORY = 512 << 20  # bytes of address space; the interpreter and lxml take about 40 MB of it
_LENGTH = 4


def main() -> None:
    """Answer until the input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    reader, writer = sys.stdin.buffer, sys.stdout.buffer
    _write(writer, b"")  # ready: from now on seconds are those of an evaluation
    while (request := _read(reader)) is not None:
        _write(writer, json.dumps({"results": _answer(request)}).encode())


def _write(writer: BinaryIO, answer: bytes) -> None:
    writer.write(len(answer).to_bytes(_LENGTH, "big") + answer)
    writer.flush()


def _read(reader: BinaryIO) -> Any:
    head = reader.read(_LENGTH)
    return json.loads(reader.read(int.from_bytes(head, "big"))) if len(head) == _LENGTH else None


def _answer(request: dict[str, Any]) -> list[dict[str, Any]]:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
    document = etree.fromstring(request["document"].encode(), parser)
    return [_one(document, query, request["want"]) for query in request["queries"]]


def _one(document: etree._Element, query: dict[str, Any], want: str) -> dict[str, Any]:
    try:
        text = f"boolean({query['text']})" if want == "truth" else query["text"]
        found = etree.XPath(text, namespaces=query["namespaces"], regexp=False)(document.getroottree())
        return {"truth": bool(found)} if want == "truth" else {"parts": _parts(found)}
    except (etree.XPathError, MemoryError, ValueError) as error:
        return {"error": str(error) or type(error).__name__}


def _parts(found: Any) -> list[tuple[str, str]]:
    if isinstance(found, list):
        return [_part(one) for one in found]
    if isinstance(found, bool):
        return [("text", "true" if found else "false")]
    return [("text", format(found, ".15g") if isinstance(found, float) else str(found))]


def _part(node: Any) -> tuple[str, str]:
    if isinstance(node, tuple):  # a name space: its prefix and itself
        return "text", str(node[1])
    if isinstance(node, str):
        return "text", str(node)
    if isinstance(node.tag, str):
        return "element", etree.tostring(node, with_tail=False, encoding="unicode")
    return "text", node.text or ""


if __name__ == "__main__":
    main()
