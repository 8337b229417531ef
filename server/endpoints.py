"""Composes the client listener's endpoints from the services' ports: own operations, properties, lifetime, topics."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
from flyinglow.notification.pulling import soap as pull_soap
from flyinglow.notification.soap import broker_port, manager_port, producer_port
from flyinglow.workspace import properties_xml as workspace_xml
from flyinglow.workspace import soap as workspace_soap
from flyinglow.workspace.model import Kind
from flyinglow.wsrf import lifetime, modification, properties
from flyinglow.wsrf.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from lxml.etree import _Element

    from flyinglow.group.service import CollectionService
    from flyinglow.server.services import Services
    from flyinglow.workspace.ports import Now
    from flyinglow.wsrf.addresses import Addresses
    from flyinglow.wsrf.audited import Audited
    from flyinglow.wsrf.envelope import MessageLimits
    from flyinglow.wsrf.modification import Modifiable
    from flyinglow.wsrf.operation import ServiceBase
    from flyinglow.wsrf.security.signatures import Signatures
    from flyinglow.wsrf.xpath.evaluator import XPath


def endpoints(
    services: Services,
    addresses: Addresses,
    now: Now,
    limits: MessageLimits,
    xpath: XPath,
    on_message: Callable[[str, _Element], None] | None = None,
    audit: Callable[[Audited], None] = lambda _: None,
    signatures: Signatures | None = None,
) -> list[Endpoint]:
    """Return the endpoints: factory, workspace, group, ensemble, their entries, and those of notification."""

    def endpoint(name: str, *ports: type[ServiceBase], resources: bool = True) -> Endpoint:
        return Endpoint(
            name,
            ports,
            name,
            now=now,
            resources=resources,
            limits=limits,
            on_message=on_message,
            signatures=signatures,
            addresses=addresses,
            audit=audit,
        )

    def leased(directory: Modifiable, kind: Kind, document: str) -> list[type[ServiceBase]]:
        subscribe = producer_port(services.subscriptions, kind, addresses)
        shared = SharedDirectory(directory, services.sharing, kind)
        read, change = properties.port(shared, document, xpath), modification.port(shared, document)
        return [read, change, lifetime.port(shared), subscribe, group_soap.sharing_port(services.sharing, kind)]

    factory = factory_xml.FactoryDirectory(services.factory, now)
    workspace = workspace_xml.WorkspaceDirectory(services.workspace, now, services.changes)
    group = group_xml.GroupDirectory(services.group, addresses, now, services.changes)
    ensemble = ensemble_xml.EnsembleDirectory(services.ensemble, addresses, now, services.changes)
    wholes: dict[Kind, CollectionService] = {Kind.GROUP: services.group, Kind.ENSEMBLE: services.ensemble}
    entry = entries_xml.EntryDirectory(wholes, addresses, now)
    pull_point = pull_soap.PullPointDirectory(services.pulls, now)
    subscription = subscription_xml.SubscriptionDirectory(services.subscriptions, now)
    return [
        endpoint(
            "factory",
            factory_soap.port(services.factory, addresses),
            properties.port(factory, factory_xml.DOCUMENT, xpath),
            resources=False,
        ),
        endpoint(
            "workspace",
            workspace_soap.port(services.workspace),
            *leased(workspace, Kind.WORKSPACE, workspace_xml.DOCUMENT),
        ),
        endpoint(
            "group",
            group_soap.port(services.group, addresses),
            *leased(group, Kind.GROUP, group_xml.DOCUMENT),
        ),
        endpoint(
            "ensemble",
            ensemble_soap.port(services.ensemble, addresses),
            *leased(ensemble, Kind.ENSEMBLE, ensemble_xml.DOCUMENT),
        ),
        endpoint(
            "entry",
            properties.port(entry, entries_xml.DOCUMENT, xpath),
            lifetime.port(entry, scheduled=False),
        ),
        endpoint(
            "subscription",
            manager_port(services.subscriptions),
            properties.port(subscription, subscription_xml.DOCUMENT, xpath),
            lifetime.port(subscription),
        ),
        endpoint("pullpoints", pull_soap.factory_port(services.pulls, addresses), resources=False),
        endpoint(
            "pullpoint",
            pull_soap.port(services.pulls, services.bell),
            properties.port(pull_point, pull_soap.DOCUMENT, xpath),
            lifetime.port(pull_point),
        ),
        endpoint(
            "broker",
            producer_port(services.subscriptions, Kind.BROKER, addresses),
            broker_port(),
            properties.port(broker_xml.BrokerDirectory(), broker_xml.DOCUMENT, xpath),
            resources=False,
        ),
    ]
