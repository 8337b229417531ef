"""The words that ``flyinglow-nodectl`` understands on its command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from flyinglow import __version__
from flyinglow.nodectl import config
from flyinglow.nodectl.deploy.sudoers import DEFAULT_PATH
from flyinglow.nodectl.hypervisor.settings import DRIVERS

BY_TAG = {
    "info": "how one VM stands, and why",
    "start": "run a VM that does not run; a paused one goes on",
    "pause": "stop a running VM's processors",
    "resume": "let a paused VM go on",
    "reboot": "boot a running VM anew",
    "shutdown": "press a VM's power button, wait, then end it; its disks stay",
    "destroy": "end a VM and remove all that is its",
    "save": "send a copy of a disk of a VM that is down to where the site allows",
    "console": "print what a guest wrote on its serial console",
}
EXAMPLE = """An example, with the image that build-guest makes below OUTDIR:

  {"tag": "k1", "name": "first", "memory_mb": 96, "cpus": 1,
   "disks": [{"name": "root", "source": "OUTDIR/root.ext4", "format": "raw"}],
   "kernel": "OUTDIR/kernel", "initrd": "OUTDIR/initrd", "append": "console=ttyS0 lease.root=/dev/vda"}

OUTDIR/image.json has the paths, checksum and kernel's words of that image.
"""
EPILOG = (
    "Exit codes: 0 done; 1 something is broken; 2 wrong usage or an invalid request; 3 no such VM; 4 the VM's state "
    "does not allow it; 5 the site forbids it; 6 not now, try later; 7 never on this node; 8 failed, may work when "
    "tried again."
)


def parser() -> argparse.ArgumentParser:
    """Return what understands the words after the program's name."""
    made = argparse.ArgumentParser(
        prog="flyinglow-nodectl", description="Control the virtual machines of this node.", epilog=EPILOG
    )
    made.add_argument("--version", action="version", version=__version__)
    made.add_argument("--config", type=Path, metavar="FILE", help=f"JSON file, instead of {config.DEFAULT_FILE}")
    made.add_argument("--state", metavar="DIR", help="where VMs are kept, instead of the configured directory")
    made.add_argument("--driver", choices=DRIVERS, help="hypervisor, instead of the configured one")
    made.add_argument("--json", action="store_true", help="print JSON, errors too")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    agent = commands.add_parser("agent", help="serve orders as JSON lines until the end of input")
    agent.add_argument("--stdio", action="store_true", required=True, help="on standard input and output")
    commands.add_parser("list", help="list the VMs of this node, and what is left of others")
    create = commands.add_parser("create", help="make a VM; its specification is read as JSON from standard input")
    create.formatter_class, create.epilog = argparse.RawDescriptionHelpFormatter, EXAMPLE
    by_tag = {name: commands.add_parser(name, help=text) for name, text in BY_TAG.items()}
    keep = {"save-state": "keep a VM's memory and end it", "restore-state": "let a VM go on where it was saved"}
    by_tag.update({name: commands.add_parser(name, help=text) for name, text in keep.items()})
    for sub in by_tag.values():
        sub.add_argument("tag", metavar="TAG")
    for name in ("start", "restore-state"):
        by_tag[name].add_argument("--paused", action="store_true", help="with its processors stopped")
    by_tag["shutdown"].add_argument("--seconds", type=float, default=30.0, help="time the guest gets (default 30)")
    by_tag["save"].add_argument("--to", dest="target", metavar="URI", required=True, help="where to")
    by_tag["save"].add_argument("--disk", metavar="NAME", help="which (default: the first made from an image)")
    by_tag["save"].add_argument("--format", choices=("qcow2", "raw"), help="of the copy (default qcow2)")
    by_tag["console"].add_argument("--offset", type=int, default=0, help="from this byte on")
    by_tag["console"].add_argument("--max", type=int, default=1 << 20, help="at most so many bytes")
    commands.add_parser("status", help="how the node stands: memory, slots, VMs")
    commands.add_parser("kill-all", help="destroy every VM of this node, restore all memory, forget all slots")
    commands.add_parser("tidy", help="undo the slots whose agents are gone, remove what no VM's directory answers for")
    commands.add_parser("doctor", help="look whether this node can run VMs")
    build = commands.add_parser("build-guest", help="build a small Linux guest from Debian packages")
    build.add_argument("out", type=Path, metavar="OUTDIR")
    build.add_argument("--cache", type=Path, metavar="DIR", help="keep downloaded packages here (default OUTDIR/cache)")
    bundle = commands.add_parser("bundle", help="write this program as one file that runs on any node")
    bundle.add_argument("out", type=Path, metavar="OUT")
    sudoers = commands.add_parser("sudoers", help="print the lines that let a user's jobs do root's acts here")
    sudoers.add_argument("user", metavar="USER")
    sudoers.add_argument("--path", metavar="PATH", default=DEFAULT_PATH, help=f"of this program ({DEFAULT_PATH})")
    return made
