"""The client library: lease virtual machines from a Flying Low service and watch what becomes of them.

    from flyinglow.client import Consumer, Disk, Nic, Part, connect

    site = connect("http://127.0.0.1:8480")
    lease = site.create([Part(name="wn", count=2, memory_mb=96, disks=(Disk(image="guest"),))], name="wn")
    lease.whole.wait("Running", timeout=60)

Calls block and may be made from several threads. Errors are those of ``flyinglow.nodectl.errors``, split by what the
caller can do; ``incident`` is what the service's operator finds the cause by. It is zeep that writes the messages;
it is loaded with the first call, for it takes its time.
"""

from __future__ import annotations

from flyinglow.client.consumer import Consumer
from flyinglow.client.credential import Credential
from flyinglow.client.epr import Epr
from flyinglow.client.errors import LeaseFailed, WaitError
from flyinglow.client.lease_watch import LeaseWatch
from flyinglow.client.notification import Notification
from flyinglow.client.pull_point import PullPoint
from flyinglow.client.request import Disk, File, Nic, Part
from flyinglow.client.resource import Resource
from flyinglow.client.site import Site, connect
from flyinglow.client.subscription import DeliveryEntry, Subscription
from flyinglow.client.values import (
    Address,
    Allocation,
    Console,
    Entry,
    Estimate,
    FreeNow,
    GuestReport,
    ImageOffer,
    Lease,
    LeasedDisk,
    Member,
    NetworkOffer,
    Offers,
    Properties,
    Report,
    Result,
    Saved,
    Valid,
)
from flyinglow.client.watch import Watch

__all__ = [
    "Address",
    "Allocation",
    "Console",
    "Consumer",
    "Credential",
    "DeliveryEntry",
    "Disk",
    "Entry",
    "Epr",
    "Estimate",
    "File",
    "FreeNow",
    "GuestReport",
    "ImageOffer",
    "Lease",
    "LeaseFailed",
    "LeaseWatch",
    "LeasedDisk",
    "Member",
    "NetworkOffer",
    "Nic",
    "Notification",
    "Offers",
    "Part",
    "Properties",
    "PullPoint",
    "Report",
    "Resource",
    "Result",
    "Saved",
    "Site",
    "Subscription",
    "Valid",
    "WaitError",
    "Watch",
    "connect",
]
