"""Runs ``flyinglow serve`` with two additions: each SOAP body is held against the schemas, and it can die on command.

Usage: serve_checked.py CONFIG VIOLATIONS [DIE_AFTER [COUNT]]. After the COUNT-th commit of the step DIE_AFTER it ends
as ``kill -9`` ends it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from lxml.etree import _Element

from flyinglow.server.daemon import serve
from flyinglow.wsrf.contract import Contract, ContractError


def checker(path: Path) -> Callable[[str, _Element], None]:
    """Return a function that writes down every element that the contract does not allow."""
    contract = Contract.packaged()

    def check(direction: str, element: _Element) -> None:
        try:
            contract.validate(element)
        except ContractError as error:
            if direction != "request":  # a request that does not fit is answered with a fault, which is looked at too
                with path.open("a") as out:
                    out.write(f"{direction} {element.tag}: {error}\n")

    return check


def killer(step: str, count: int) -> Callable[[str], None]:
    """Return a function that ends this process after the count-th commit of a step."""
    left = [count]

    def committed(name: str) -> None:
        if name == step:
            left[0] -= 1
            if left[0] <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return committed


def main() -> None:
    """Serve."""
    config, violations, *die = sys.argv[1:]
    committed = killer(die[0], int(die[1]) if len(die) > 1 else 1) if die else None
    serve(Path(config), committed=committed, on_message=checker(Path(violations)))


main()
