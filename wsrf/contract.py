"""The contract as files: ``wsdl/`` and ``schemas/``, read once, served as they are, and used to judge every request.

Only two things of a WSDL are changed when it is served: where the service lives (``soap:address``, from configuration,
never from a request) and where its schemas lie relative to it.
"""

from __future__ import annotations

import threading
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from lxml import etree

from flyinglow.wsrf.xml import NS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lxml.etree import _Element

_WSDL: Final = "{http://schemas.xmlsoap.org/wsdl/}"
_XS: Final = f"{{{NS['xs']}}}"
_ACTION: Final = f"{{{NS['wsam']}}}Action"
_SOAP_ADDRESSES: Final = (
    "{http://schemas.xmlsoap.org/wsdl/soap/}address",
    "{http://schemas.xmlsoap.org/wsdl/soap12/}address",
)
_MESSAGE_LIMIT = 400


class ContractError(Exception):
    """An element is not what the schemas say; the message is meant for whoever sent it."""


class Contract:
    """The schemas and WSDLs of all services. Safe to use from several threads.

    ``served`` are the files that lie together with the schemas: these, and documents about them, as that of the topics.
    """

    def __init__(
        self, schemas: Mapping[str, bytes], wsdls: Mapping[str, bytes], documents: Mapping[str, bytes] | None = None
    ) -> None:
        self.schemas = dict(schemas)
        self.served = {**self.schemas, **(documents or {})}
        self._wsdls = dict(wsdls)
        self._schema = self._compile()
        # A schema object keeps its last errors for all threads: what one caller did wrong must not be told another.
        self._explaining = threading.Lock()
        self._explainer = self._compile()

    @staticmethod
    @cache
    def packaged() -> Contract:
        """Return the contract that is installed with this package."""
        schemas, topics = (_files("flyinglow.schemas", ending) for ending in (".xsd", ".xml"))
        return Contract(schemas, _files("flyinglow.wsdl", ".wsdl"), topics)

    def validate(self, element: _Element) -> None:
        """Raise ContractError unless a global element declaration fits this element and all that is in it."""
        if self._schema.validate(element):
            return
        with self._explaining:
            self._explainer.validate(element)
            log: Any = self._explainer.error_log
            errors = list(log)
            message = str(errors[-1].message) if errors else "it does not fit the schemas"
        raise ContractError(message[:_MESSAGE_LIMIT])

    def names(self) -> tuple[str, ...]:
        """Return the names under which WSDLs are known (their files' names without the ending)."""
        return tuple(sorted(self._wsdls))

    def wsdl(self, name: str, address: str, schemas: str = "schemas/") -> bytes:
        """Return a WSDL whose ports live at ``address`` and whose schemas lie under the relative URL ``schemas``."""
        root = etree.fromstring(self._wsdls[name], _parser())
        for tag in _SOAP_ADDRESSES:
            for port in root.iter(tag):
                port.set("location", address)
        for tag in (f"{_XS}import", f"{_XS}include"):
            for link in root.iter(tag):
                if location := link.get("schemaLocation"):
                    link.set("schemaLocation", schemas + location.rpartition("/")[2])
        return etree.tostring(root, encoding="utf-8", xml_declaration=True)

    def operations(self, name: str) -> set[tuple[str, str]]:
        """Return (request element, wsam:Action of the input) of every operation of a WSDL's port types."""
        root = etree.fromstring(self._wsdls[name], _parser())
        parts = {message.get("name"): message.find(f"{_WSDL}part") for message in root.iter(f"{_WSDL}message")}
        found = set()
        for operation in root.iterfind(f"{_WSDL}portType/{_WSDL}operation"):
            given = operation.find(f"{_WSDL}input")
            part = None if given is None else parts.get(given.get("message", "").rpartition(":")[2])
            if given is None or part is None:
                raise ContractError(f"operation {operation.get('name')} of {name} has no input message")
            prefix, _, local = part.get("element", "").rpartition(":")
            found.add((f"{{{part.nsmap[prefix or None]}}}{local}", given.get(_ACTION, "")))
        return found

    def _compile(self) -> etree.XMLSchema:
        """Compile one schema over all files; they are found by name here, so nothing is read from anywhere else."""
        parser = _parser()
        parser.resolvers.add(_Shelf(self.schemas))
        root = etree.Element(f"{_XS}schema", nsmap={"xs": NS["xs"]})
        for filename, data in sorted(self.schemas.items()):
            target = etree.fromstring(data, _parser()).get("targetNamespace", "")
            etree.SubElement(root, f"{_XS}import", namespace=target, schemaLocation=f"shelf:///{filename}")
        return etree.XMLSchema(etree.fromstring(etree.tostring(root), parser, base_url="shelf:///all.xsd"))


class _Shelf(etree.Resolver):
    """Answers every schema location by the file of that name, and refuses what is not there."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def resolve(self, url: str, public_id: str, context: Any) -> Any:  # type: ignore[override]
        filename = url.rpartition("/")[2]
        if filename not in self._files:
            raise ContractError(f"the schemas refer to {url}, which is not among them")
        return self.resolve_string(self._files[filename], context, base_url=f"shelf:///{filename}")


def _parser() -> etree.XMLParser:
    return etree.XMLParser(no_network=True, load_dtd=False, remove_comments=True)


def _files(package: str, ending: str) -> dict[str, bytes]:
    found = (path for path in resources.files(package).iterdir() if path.name.endswith(ending))
    return {path.name.removesuffix(".wsdl"): path.read_bytes() for path in found}
