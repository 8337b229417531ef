"""What a person does at a Xen node, and what Xen itself and the guests say of it."""

from __future__ import annotations

import json
from typing import Any

from flyinglow.cli.demo.lrm_site import NODECTL
from rigs.waiting import eventually
from rigs.xen.world import XenNode

WAIT = 600.0  # seconds: an emulated processor, on a machine that has other work
GUEST_MB = 96


class Control:
    """One node, by its program and by ``xl``."""

    def __init__(self, node: XenNode) -> None:
        self.node = node

    def do(self, *words: str, given: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run one command of the program, which must succeed, and return its answer."""
        text = "" if given is None else json.dumps(given)
        done = self.node.run([NODECTL, "--json", *words], text=text, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def refused(self, *words: str) -> tuple[int, str]:
        """Run a command that must fail; return its exit code and the kind of error."""
        done = self.node.run([NODECTL, "--json", *words], check=False)
        assert done.returncode != 0, done.stdout
        return done.returncode, str(json.loads(done.stdout)["error"]["kind"])

    def domains(self) -> dict[str, tuple[int, str]]:
        """Return number and flags of each domain besides domain 0, as ``xl`` tells them."""
        lines = [line.split() for line in self.node.run(["xl", "list"]).stdout.splitlines()[2:]]
        return {words[0]: (int(words[1]), words[4]) for words in lines}

    def said(self, tag: str) -> str:
        """Return what a guest has written on its console, from where Xen keeps it."""
        return self.node.run(["cat", f"/var/log/xen/console/guest-fl-{tag}.log"], check=False).stdout

    def hears(self, tag: str, *words: str, times: int = 1) -> str:
        """Wait until a guest has said all these, so often; return all that it has said."""

        def heard() -> str:
            text = self.said(tag)
            return text if all(text.count(word) >= times for word in words) else ""

        text: str = eventually(heard, WAIT)
        return text


def spec(tag: str, entry: dict[str, Any], number: int, **changes: Any) -> dict[str, Any]:
    """Return a VM in its JSON form: the packaged guest with a scratch disk and a NIC; ``changes`` win."""
    disk = {"name": "root", "source": entry["path"], "format": "raw", "sha256": entry["sha256"]}
    nic = {"network": "private", "bridge": "br-private", "mac": f"52:54:00:0f:00:{number:02x}", "prefix": 24}
    nic.update(ip=f"10.73.0.{100 + number}", hostname=f"guest-{tag}")
    boot = {name: entry[name] for name in ("kernel", "initrd", "append", "ready_mark")}
    plain = {"tag": tag, "name": tag, "memory_mb": GUEST_MB, "cpus": 1, "context": f"role {tag}", "user_data": "data"}
    return {**plain, **boot, "disks": [disk, {"name": "scratch", "blank_mb": 8}], "nics": [nic], **changes}
