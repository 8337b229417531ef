#!/usr/bin/env python3
"""Behaves like Xen's ``xl`` as far as the driver can tell, with domains that exist in one JSON file only.

``xl_stand_in.py FOLDER VERB ...``; FOLDER holds ``domains.json`` and the consoles. Written after the real one's words
and exit codes (Xen 4.17). ``refuse`` in FOLDER, if there, is what every creation fails with, leaving half a domain.
"""

import fcntl
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[1])
FILE = FOLDER / "domains.json"
KNOWN = {"info", "create", "list", "pause", "unpause", "shutdown", "reboot", "destroy", "save", "restore"}
HEAD = (
    "Name                                        ID   Mem VCPUs\tState\tTime(s)   UUID"
    "                            Reason-Code\tSecurity Label"
)
ROW = "%-40s %5d %5d %5d     %s  %8.1f %s %8s %16s"
ZERO = {"name": "Domain-0", "id": 0, "memory": 700, "vcpus": 1, "flags": "r-----", "reason": "-"}
ZERO["uuid"] = "00000000-0000-0000-0000-000000000000"


def fail(words: str, status: int = 1) -> None:
    sys.stderr.write(f"{words}\n")
    sys.exit(status)


def read() -> list[dict[str, Any]]:
    return json.loads(FILE.read_text()) if FILE.exists() else []


def write(domains: list[dict[str, Any]]) -> None:
    FILE.write_text(json.dumps(domains))


def find(domains: list[dict[str, Any]], word: str) -> dict[str, Any]:
    for domain in domains:
        if word in (domain["name"], str(domain["id"])):
            return domain
    fail(f"{word} is an invalid domain identifier (rc=-6)")
    raise AssertionError


def text(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1])


def parse(path: str) -> dict[str, str]:
    settings = dict(line.split(" = ", 1) for line in Path(path).read_text().splitlines())
    missing = {"name", "uuid", "kernel", "memory"} - set(settings)
    if missing:
        fail(f"config parsing error: no {sorted(missing)}", 3)
    for target in re.findall(r'target=((?:[^"\\]|\\.)*)"', settings["disk"]):
        if not Path(re.sub(r"\\(.)", r"\1", target)).is_file():
            fail(f"libxl: error: libxl_device.c: failed to stat {target}: No such file or directory", 3)
    return settings


def boot(domain: dict[str, Any]) -> None:
    console = FOLDER / "console" / f"guest-{domain['name']}.log"
    with console.open("ab") as file:
        file.write(b"READY\r\n")


def create(domains: list[dict[str, Any]], words: list[str], file: str) -> None:
    settings = parse(file)
    name = text(settings["name"])
    if any(domain["name"] == name for domain in domains):
        fail(f'libxl: error: libxl_domain.c: Domain with name "{name}" already exists.', 3)
    counter = FOLDER / "counter"
    number = int(counter.read_text()) + 1 if counter.exists() else 1
    counter.write_text(str(number))
    domain = {"name": name, "id": number, "memory": int(settings["memory"]), "vcpus": int(settings["vcpus"])}
    domain.update(uuid=text(settings["uuid"]), flags="--p---", reason="-")
    write([*domains, domain])
    refusal = FOLDER / "refuse"
    if refusal.exists():
        fail(refusal.read_text(), 3)
    if "-p" not in words:
        domain["flags"] = "-b----"
        write([*domains, domain])
        if words[0] == "create":
            boot(domain)


def save(domains: list[dict[str, Any]], words: list[str]) -> None:
    name, file = words[-2:]
    if (FOLDER / "refuse").exists():
        fail((FOLDER / "refuse").read_text(), 3)
    if "-p" in words:
        find(domains, name)["flags"] = "--p---"
    else:
        domains.remove(find(domains, name))
    Path(file).write_text(f"memory of {name}")
    write(domains)


def restore(domains: list[dict[str, Any]], words: list[str]) -> None:
    if not Path(words[-1]).read_text().startswith("memory of"):
        fail("libxl: error: libxl_stream_read.c: Invalid ident", 3)
    create(domains, words, words[-2])


def change(domains: list[dict[str, Any]], verb: str, word: str) -> None:
    domain = find(domains, word)
    if verb == "destroy":
        domains.remove(domain)
    elif verb == "shutdown":
        domain.update(flags="---s--", reason="0")
    elif verb == "reboot":
        domain["id"] += 100
        boot(domain)
    else:
        domain["flags"] = "--p---" if verb == "pause" else "-b----"
        if verb == "unpause":
            boot(domain)
    write(domains)


def main() -> None:
    verb, words = sys.argv[2], sys.argv[3:]
    if verb not in KNOWN:
        fail("command not implemented")
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        domains = read()
        if verb == "info":
            print("xen_version            : 4.17.7\nfree_memory            : 310")  # noqa: T201 - as below
        elif verb == "list":
            rows = [
                ROW
                % (
                    *(d[key] for key in ("name", "id", "memory", "vcpus", "flags")),
                    time.monotonic(),
                    d["uuid"],
                    d["reason"],
                    "-",
                )
                for d in [ZERO, *domains]
            ]
            print("\n".join([HEAD, *rows]))  # noqa: T201 - that is what xl does
        elif verb == "create":
            create(domains, ["create", *words], words[-1])
        elif verb == "save":
            save(domains, words)
        elif verb == "restore":
            restore(domains, words)
        else:
            change(domains, verb, words[-1])


main()
