"""The policies by name, made from the administrator's table. Those in ``_WRAPPERS`` build on another, ``base``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flyinglow.backend.lrm.policy.exact import Exact, ExactOptions
from flyinglow.backend.lrm.policy.keep_warm import KeepWarm, KeepWarmOptions
from flyinglow.backend.lrm.policy.opportunistic import Opportunistic, OpportunisticOptions
from flyinglow.backend.lrm.policy.over_provision import OverProvision, OverProvisionOptions
from flyinglow.backend.lrm.policy.packing import Packing, PackingOptions
from flyinglow.backend.lrm.policy.proactive import Proactive, ProactiveOptions
from flyinglow.backend.options import OptionError, read
from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flyinglow.backend.lrm.policy.fitting import Base

_PLAIN: dict[str, tuple[type[Any], Callable[[Any], Base]]] = {
    "exact": (ExactOptions, Exact),
    "packing": (PackingOptions, Packing),
}
_WRAPPERS: dict[str, tuple[type[Any], Callable[[Any, Base], Base]]] = {
    "keep_warm": (KeepWarmOptions, KeepWarm),
    "proactive": (ProactiveOptions, Proactive),
    "over_provision": (OverProvisionOptions, OverProvision),
    "opportunistic": (OpportunisticOptions, Opportunistic),
}
NAMES = (*_PLAIN, *_WRAPPERS)
DEFAULT = "exact"
_DEPTH = 8


def policy_of(name: str, options: Mapping[str, Any]) -> Base:
    """Make the policy. Raises InvalidError for an unknown name, an unknown key, or a value that makes no sense.

    Beside its own keys, a policy that builds on another takes ``base``, that one's name (default: exact), and
    ``base_options``, its table.
    """
    return _made(name, options, _DEPTH)


def _made(name: str, options: Mapping[str, Any], depth: int) -> Base:
    where = f"the options of the policy {name}"
    if name in _PLAIN:
        cls, make = _PLAIN[name]
        return make(read(cls, options, where))
    if name not in _WRAPPERS:
        raise InvalidError(f"there is no policy {name!r}; known are {', '.join(NAMES)}")
    if not depth:
        raise InvalidError(f"policies build on more than {_DEPTH} others")
    own = dict(options)
    base, table = own.pop("base", DEFAULT), own.pop("base_options", {})
    if not isinstance(base, str) or not hasattr(table, "items"):
        raise InvalidError(f"{where} need a name as 'base' and a table as 'base_options'")
    cls, wrap = _WRAPPERS[name]
    made = read(cls, own, where)
    try:
        return wrap(made, _made(base, table, depth - 1))
    except OptionError as error:
        raise OptionError(error.message, "base_options", *error.path) from None
