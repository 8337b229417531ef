"""The four services of ``rigs.contract`` behind their real endpoints."""

from __future__ import annotations

import inspect
import uuid
from typing import Any, cast

from lxml import etree
from lxml.etree import _Element

from flyinglow.access.identity import LOCAL
from flyinglow.ensemble import properties_xml as ensemble_xml
from flyinglow.ensemble import soap as ensemble_soap
from flyinglow.factory import properties_xml as factory_xml
from flyinglow.factory import soap as factory_soap
from flyinglow.group import entries_xml
from flyinglow.group import properties_xml as group_xml
from flyinglow.group import soap as group_soap
from flyinglow.group.shares_xml import SharedDirectory
from flyinglow.notification import broker_xml
from flyinglow.notification import properties_xml as subscription_xml
from flyinglow.notification import soap as notification_soap
from flyinglow.notification.pulling import soap as pull_soap
from flyinglow.workspace import properties_xml as workspace_xml
from flyinglow.workspace import soap as workspace_soap
from flyinglow.workspace.model import Kind
from flyinglow.wsrf import lifetime, modification, properties
from flyinglow.wsrf.endpoint import Answer, Endpoint, Pending
from flyinglow.wsrf.operation import Inbound
from rigs.contract import (
    ADDRESSES,
    ENSEMBLE,
    GROUP,
    MEMBERS,
    NOW,
    SOAP,
    Changes,
    Factory,
    Pulls,
    Sharing,
    Subscriptions,
    Wholes,
    Workspaces,
    whole_of,
)
from rigs.refusals import Refusing
from rigs.soap import XPATH


class Site:
    """The endpoints over fresh stand-ins; ``seen`` collects every message as (kind, element).

    ``refusal`` names a stand-in all of whose verbs are to raise an error.
    """

    def __init__(self, refusal: tuple[str, Exception] | None = None) -> None:
        self.factory = Factory()
        self.workspaces = Workspaces()
        self.groups = Wholes(whole_of(GROUP, MEMBERS[2:]))
        self.ensembles = Wholes(whole_of(ENSEMBLE, MEMBERS))
        self.subscriptions = Subscriptions()
        self.sharing = Sharing()
        self.changes = Changes()
        self.pulls = Pulls()
        if refusal is not None:
            setattr(self, refusal[0], Refusing(refusal[1]))
        self.seen: list[tuple[str, _Element]] = []
        self.endpoints = {endpoint.name: endpoint for endpoint in self._endpoints()}

    def ask(self, service: str, envelope: bytes, resource: str | None = None) -> Answer:
        """Send an envelope to a service; what is awaited must be there at once."""
        soap = "1.2" if SOAP["1.2"].encode() in envelope else "1.1"
        inbound = Inbound(body=envelope, soap=soap, caller=LOCAL, peer="test", resource=resource)
        answer = self.endpoints[service].handle(inbound)
        if not isinstance(answer, Pending):
            return answer
        assert inspect.iscoroutine(answer.awaitable)
        try:
            answer.awaitable.send(None)
        except StopIteration as done:
            return answer.finish(cast("_Element", done.value))
        raise AssertionError("the operation waits for something that is not there")

    def body(self, service: str, element: str | _Element, resource: str | None = None) -> _Element:
        """Send a body in a SOAP 1.1 envelope and return what is in the answer's body (a fault's detail element)."""
        text = element if isinstance(element, str) else etree.tostring(element, encoding="unicode")
        envelope = f'<s:Envelope xmlns:s="{SOAP["1.1"]}"><s:Body>{text}</s:Body></s:Envelope>'
        answer = etree.fromstring(self.ask(service, envelope.encode(), resource).body)
        found = answer.find(f"{{{SOAP['1.1']}}}Body")
        assert found is not None
        detail = found.find(f"{{{SOAP['1.1']}}}Fault/detail")
        return found[0] if detail is None else detail[0]

    def _endpoints(self) -> list[Endpoint]:
        """Compose every endpoint as the daemon does, of its own operations and those of the standards."""
        now: Any = lambda: NOW  # noqa: E731
        workspaces, groups, ensembles = map(untyped, (self.workspaces, self.groups, self.ensembles))
        factory, subscriptions = untyped(self.factory), untyped(self.subscriptions)
        factory_directory = factory_xml.FactoryDirectory(factory, now)
        changes = untyped(self.changes)
        sharing = untyped(self.sharing)
        workspace_directory = SharedDirectory(
            workspace_xml.WorkspaceDirectory(workspaces, now, changes), sharing, Kind.WORKSPACE
        )
        group_directory = SharedDirectory(
            group_xml.GroupDirectory(groups, ADDRESSES, now, changes), sharing, Kind.GROUP
        )
        ensemble_directory = SharedDirectory(
            ensemble_xml.EnsembleDirectory(ensembles, ADDRESSES, now, changes), sharing, Kind.ENSEMBLE
        )
        entries = entries_xml.EntryDirectory({Kind.GROUP: groups, Kind.ENSEMBLE: ensembles}, ADDRESSES, now)
        subscription_directory = subscription_xml.SubscriptionDirectory(subscriptions, now)
        return [
            self._endpoint(
                "factory",
                factory_soap.port(factory, ADDRESSES),
                properties.port(factory_directory, factory_xml.DOCUMENT, XPATH),
            ),
            self._endpoint(
                "workspace",
                workspace_soap.port(workspaces),
                properties.port(workspace_directory, workspace_xml.DOCUMENT, XPATH),
                modification.port(workspace_directory, workspace_xml.DOCUMENT),
                lifetime.port(workspace_directory),
                notification_soap.producer_port(subscriptions, Kind.WORKSPACE, ADDRESSES),
                group_soap.sharing_port(sharing, Kind.WORKSPACE),
            ),
            self._endpoint(
                "group",
                group_soap.port(groups, ADDRESSES),
                properties.port(group_directory, group_xml.DOCUMENT, XPATH),
                modification.port(group_directory, group_xml.DOCUMENT),
                lifetime.port(group_directory),
                notification_soap.producer_port(subscriptions, Kind.GROUP, ADDRESSES),
                group_soap.sharing_port(sharing, Kind.GROUP),
            ),
            self._endpoint(
                "ensemble",
                ensemble_soap.port(ensembles, ADDRESSES),
                properties.port(ensemble_directory, ensemble_xml.DOCUMENT, XPATH),
                modification.port(ensemble_directory, ensemble_xml.DOCUMENT),
                lifetime.port(ensemble_directory),
                notification_soap.producer_port(subscriptions, Kind.ENSEMBLE, ADDRESSES),
                group_soap.sharing_port(sharing, Kind.ENSEMBLE),
            ),
            self._endpoint(
                "entry",
                properties.port(entries, entries_xml.DOCUMENT, XPATH),
                lifetime.port(entries, scheduled=False),
            ),
            self._endpoint(
                "subscription",
                notification_soap.manager_port(subscriptions),
                properties.port(subscription_directory, subscription_xml.DOCUMENT, XPATH),
                lifetime.port(subscription_directory),
            ),
            *self._pull_points(now),
            self._endpoint(
                "broker",
                notification_soap.producer_port(subscriptions, Kind.BROKER, ADDRESSES),
                notification_soap.broker_port(),
                properties.port(broker_xml.BrokerDirectory(), broker_xml.DOCUMENT, XPATH),
            ),
        ]

    def _pull_points(self, now: Any) -> list[Endpoint]:
        pulls = untyped(self.pulls)
        directory = pull_soap.PullPointDirectory(pulls, now)
        return [
            self._endpoint("pullpoints", pull_soap.factory_port(pulls, ADDRESSES)),
            self._endpoint(
                "pullpoint",
                pull_soap.port(pulls, untyped(None)),
                properties.port(directory, pull_soap.DOCUMENT, XPATH),
                lifetime.port(directory),
            ),
        ]

    def _endpoint(self, name: str, *ports: Any) -> Endpoint:
        return Endpoint(
            name,
            ports,
            name,
            now=lambda: NOW,
            resources=name not in {"factory", "pullpoints", "broker"},
            new_id=lambda: uuid.UUID("3f2b8c1e-6d4a-4b7f-9e0c-1a2b3c4d5e6f"),
            on_message=lambda kind, element: self.seen.append((kind, element)),
            addresses=ADDRESSES,
        )


def untyped(stand_in: object) -> Any:
    """Return it as it is; a stand-in has the verbs that are needed, not the type."""
    return stand_in
