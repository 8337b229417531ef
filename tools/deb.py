"""Build the Debian package of what runs on nodes: the program, the rules for sudo, a configuration.

    tools/deb.py [--user NAME] [--out DIR]

The same sources and the same Python give the same bytes, whoever builds it, when and where. Nothing but ``dpkg-deb`` is
needed, and ``visudo`` to look at the rules, where it is there.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from flyinglow import __version__
from flyinglow.nodectl.arguments import parser
from flyinglow.nodectl.deploy import bundle, sudoers

NAME = "flyinglow-node"
DATE = 1767225600  # 2026-01-01: of all files, whenever they are built
MAINTAINER = "Flying Low <flyinglow@localhost>"
CONTROL = f"""\
Package: {NAME}
Version: {{version}}
Architecture: all
Maintainer: {MAINTAINER}
Installed-Size: {{size}}
Depends: python3 (>= 3.9), sudo
Recommends: qemu-system-x86, qemu-utils, iproute2, dnsmasq-base, nftables, e2fsprogs, openssh-client, xorriso
Suggests: xen-utils-4.17
Section: admin
Priority: optional
Description: virtual machines on a cluster's nodes, leased through its batch scheduler
 This is the part of Flying Low that nodes need: flyinglow-nodectl, which makes
 and ends virtual machines with their disks and networks, and the rules by which
 batch jobs of one user start it through sudo.
"""
# Nothing of a node may be left behind that only this program knows how to undo.
PRERM = """\
#!/bin/sh
set -e
case "$1" in
    remove | deconfigure)
        flyinglow-nodectl kill-all
        ;;
    upgrade | failed-upgrade)
        if ! flyinglow-nodectl --json status | python3 -ISc '
import json, sys
sys.exit(bool(json.load(sys.stdin)["slots"]))'; then
            echo "flyinglow-node: slots of this node are held: end their leases, or run: flyinglow-nodectl kill-all" >&2
            exit 1
        fi
        ;;
esac
"""
POSTRM = """\
#!/bin/sh
set -e
if [ "$1" = purge ]; then
    rm -rf /var/lib/flyinglow-node /run/flyinglow
fi
"""
CHANGELOG = f"""\
{NAME} ({{version}}) unstable; urgency=medium

  * Built from the sources of Flying Low {{version}}.

 -- {MAINTAINER}  Thu, 01 Jan 2026 00:00:00 +0000
"""
COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2026 the authors of Flying Low
License: Apache-2.0
 On Debian systems the whole text is in /usr/share/common-licenses/Apache-2.0.
"""
MANUAL = """\
.TH FLYINGLOW-NODECTL 8 "" "Flying Low {version}"
.SH NAME
flyinglow-nodectl \\- control the virtual machines of this node
.SH SYNOPSIS
.B flyinglow-nodectl
[\\fIoptions\\fR] \\fICOMMAND\\fR ...
.SH DESCRIPTION
.nf
{text}
.fi
.SH FILES
.I /etc/flyinglow/nodectl.json
.br
.I /etc/sudoers.d/flyinglow-node
"""
FILES = {  # path -> mode
    "usr/sbin/flyinglow-nodectl": 0o755,
    "etc/flyinglow/nodectl.json": 0o644,
    f"etc/sudoers.d/{NAME}": 0o440,
    f"usr/share/doc/{NAME}/changelog.gz": 0o644,
    f"usr/share/doc/{NAME}/copyright": 0o644,
    "usr/share/man/man8/flyinglow-nodectl.8.gz": 0o644,
}


def contents(user: str, work: Path) -> dict[str, bytes]:
    """Return the files of the package, by path."""
    program = work / "program"
    bundle.build(program)
    os.environ["COLUMNS"] = "72"  # of the help, whatever the terminal is
    text = parser().format_help().replace("\\", "\\\\").replace("-", "\\-")
    made = (
        program.read_bytes(),
        b'{"bridges": []}\n',
        _checked(sudoers.text(user, "/usr/sbin/flyinglow-nodectl"), work),
        _packed(CHANGELOG.format(version=__version__)),
        COPYRIGHT.encode(),
        _packed(MANUAL.format(version=__version__, text="\n".join(f"\\&{line}" for line in text.splitlines()))),
    )
    return dict(zip(FILES, made, strict=True))


def build(user: str, out: Path) -> Path:
    """Write the package below ``out`` and return its path."""
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"{NAME}_{__version__}_all.deb"
    with tempfile.TemporaryDirectory(prefix="fl-deb-") as name:
        work, tree = Path(name), Path(name) / "tree"
        files = contents(user, work)
        for path, data in files.items():
            _write(tree / path, data, FILES[path])
        size = sum(-(-len(data) // 1024) for data in files.values())
        sums = "".join(
            f"{hashlib.md5(data, usedforsecurity=False).hexdigest()}  {path}\n" for path, data in files.items()
        )
        control = CONTROL.format(version=__version__, size=size)
        conffiles = "".join(f"/{path}\n" for path in files if path.startswith("etc/"))
        for place, text, mode in (
            ("control", control, 0o644),
            ("conffiles", conffiles, 0o644),
            ("md5sums", sums, 0o644),
            ("prerm", PRERM, 0o755),
            ("postrm", POSTRM, 0o755),
        ):
            _write(tree / "DEBIAN" / place, text.encode(), mode)
        for made in [tree, *tree.rglob("*")]:
            if made.is_dir():
                made.chmod(0o755)
            os.utime(made, (DATE, DATE))
        words = [
            "dpkg-deb",
            "--root-owner-group",
            "-Zxz",
            "--threads-max=1",
            "--build",
            str(tree),
            str(work / "out.deb"),
        ]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(DATE), "LC_ALL": "C", "TZ": "UTC0"}
        subprocess.run(words, check=True, env=environment, stdout=subprocess.DEVNULL)
        shutil.copyfile(work / "out.deb", target)
    return target


def _write(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


def _packed(text: str) -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=9, filename="", mtime=0) as file:
        file.write(text.encode())
    return out.getvalue()


def _checked(text: str, work: Path) -> bytes:
    """Return the rules, once visudo has looked at them: a bad file would end all use of sudo on every node."""
    visudo = shutil.which("visudo", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if visudo is not None:
        file = work / "rules"
        _write(file, text.encode(), 0o440)
        subprocess.run([visudo, "-c", "-q", "-f", str(file)], check=True)
    return text.encode()


def main() -> None:
    """Understand the command line, and build."""
    words = argparse.ArgumentParser(description="Build the Debian package for nodes.")
    words.add_argument("--user", default="flyinglow", help="whom batch jobs of the service run as (default flyinglow)")
    words.add_argument("--out", type=Path, default=Path("dist"), help="where to write it (default dist)")
    told = words.parse_args()
    if shutil.which("dpkg-deb") is None:
        sys.exit("dpkg-deb is not installed: build the package on a Debian system")
    sys.stdout.write(f"{build(told.user, told.out)}\n")


if __name__ == "__main__":
    main()
