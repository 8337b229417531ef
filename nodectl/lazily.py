"""Modules of the standard library that are executed when they are first used, and not where they are imported.

``dataclasses`` imports ``inspect``, a third of its cost, for classes without a docstring only; ours have one. Programs
whose start is waited for say so before anything else is imported. Only for what no two threads can be first to use.
"""

from __future__ import annotations

import sys
from importlib.util import LazyLoader, find_spec, module_from_spec


def later(name: str) -> None:
    """Have the import of a top-level module put off until its first use (``importlib.util.LazyLoader``)."""
    if name in sys.modules:
        return
    spec = find_spec(name)
    if spec is None or spec.loader is None:
        return  # whoever imports it is told
    loader = LazyLoader(spec.loader)
    spec.loader = loader
    module = module_from_spec(spec)
    sys.modules[name] = module
    loader.exec_module(module)
