"""What a guest reported, as an element of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flyinglow.workspace.makers import FL, optional
from flyinglow.wsrf.xml import clean_text, timestamp

if TYPE_CHECKING:
    from lxml.etree import _Element

    from flyinglow.workspace.model import GuestReport


def context_status(report: GuestReport | None) -> list[_Element]:
    """Return ``fl:ContextStatus``, or none as long as the guest has reported nothing."""
    if report is None:
        return []
    return [
        FL.ContextStatus(
            FL.Status(report.status),
            *optional("Message", report.message),
            FL.Time(timestamp(report.at)),
            *(FL.Value(clean_text(value), name=name) for name, value in sorted(report.values.items())),
        )
    ]
