"""Tickets as a service signs them, with a key of OpenSSH's own."""

import dataclasses
import subprocess
import time
from pathlib import Path
from typing import Any

from flyinglow.nodectl.slots.ticket import NAMESPACE, PRINCIPAL, Ticket, written


class Signer:
    """A key, and the file by which a node believes it."""

    def __init__(self, folder: Path, name: str = "slot_key") -> None:
        self.key = folder / name
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "x", "-f", str(self.key)]
        subprocess.run(words, check=True, capture_output=True)
        self.signers = folder / f"{name}.signers"
        public = self.key.with_name(f"{name}.pub").read_text()
        self.signers.write_text(f'{PRINCIPAL} namespaces="{NAMESPACE}" {public}')
        self._serial = 0

    def ticket(self, **changes: Any) -> dict[str, str]:
        """Return a ticket for slot k3.0 of node n1, unless told otherwise."""
        self._serial += 1
        made = Ticket("n1", "k3.0", 1, 300, 1, "exact", 0, f"s{self._serial}", time.time())
        return self.signed(written(dataclasses.replace(made, **changes)))

    def signed(self, text: str, namespace: str = NAMESPACE) -> dict[str, str]:
        """Sign any text for whatever."""
        words = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(self.key), "-n", namespace]
        done = subprocess.run(words, input=text, capture_output=True, text=True, check=True)
        return {"text": text, "signature": done.stdout}
