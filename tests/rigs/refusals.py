"""What the stand-ins of ``rigs.contract_site`` refuse, and why, to show the faults of the services' own judgement."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from flyinglow.nodectl.errors import BrokenError, ConflictError, DeniedError, InvalidError, NeverError, TransientError
from flyinglow.notification import faults
from flyinglow.wsrf.xml import qname
from rigs.contract import NOW

_LATEST: Final = NOW + timedelta(days=31)
_SAVING: Final = ConflictError("the disk of workspace ce is being saved")
REFUSALS: Final[dict[str, tuple[str, Exception]]] = {
    "InvalidFault": ("factory", InvalidError("network 'pubic' is not one of this site's: private, public")),
    "DeniedFault": (
        "factory",
        DeniedError("at most 16 workspaces in one request", {"members.asked": 64, "members.max": 16}),
    ),
    "NeverFault": (
        "factory",
        NeverError(
            "part ce: no node of this site has that much memory", {"memory_mb.asked": 65536, "memory_mb.max": 16384}
        ),
    ),
    "ConflictFault": ("workspaces", ConflictError("Start: workspace ce is Ended: its lease is over")),
    "TransientFault": ("workspaces", TransientError("the store is busy")),
    "BrokenFault": ("workspaces", BrokenError("the service failed")),
    "ResourceUnavailableFault": ("workspaces", TransientError("the store does not answer")),
    "SetResourcePropertyRequestFailedFault": ("changes", _SAVING),
    "InsertResourcePropertiesRequestFailedFault": ("changes", _SAVING),
    "UpdateResourcePropertiesRequestFailedFault": ("changes", _SAVING),
    "DeleteResourcePropertiesRequestFailedFault": ("changes", _SAVING),
    "UnableToPutResourcePropertyDocumentFault": ("changes", _SAVING),
    "SubscribeCreationFailedFault": (
        "subscriptions",
        faults.creation_failed("169.254.169.254 is not an address that this site sends to"),
    ),
    "UnacceptableInitialTerminationTimeFault": (
        "subscriptions",
        faults.initial_time_unacceptable("the end is later than is granted", NOW + timedelta(seconds=1), _LATEST),
    ),
    "UnacceptableTerminationTimeFault": (
        "subscriptions",
        faults.time_unacceptable("the end is later than is granted", NOW + timedelta(seconds=1), _LATEST),
    ),
    "UnsupportedPolicyRequestFault": (
        "subscriptions",
        faults.policy_unsupported("a pull point keeps whole messages", [qname("wsnt", "UseRaw")]),
    ),
    "UnableToCreatePullPointFault": ("pulls", faults.pull_point_refused("100 pull points are the most")),
    "UnableToGetMessagesFault": (
        "pulls",
        faults.get_messages_failed("messages are fetched from number 1 on; 0 was asked for"),
    ),
    "ResumeFailedFault": (
        "subscriptions",
        faults.resume_failed(
            "it stays paused: notifications are not sent to 'me.example': 10.0.0.1 is in a private range"
        ),
    ),
    "NoCurrentMessageOnTopicFault": ("subscriptions", faults.no_current_message("fl:warning")),
    "MultipleTopicsSpecifiedFault": ("subscriptions", faults.many_topics(("state", "warning"))),
}
"""By the fault's name: which stand-in raises what."""


class Refusing:
    """A stand-in all of whose verbs raise one error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        def refuse(*_arguments: object, **_more: object) -> Any:
            raise self._error

        return refuse
