"""The script that Xen runs for each disk of a VM: it gives a raw file to a loop device, and takes it away again.

Xen's own script asks of every disk whether anybody else uses it, in some eighty programs one after the other, and Xen
gives up when all disks of a VM together take more than 40 seconds: on a domain 0 with little processor time four are
too many. Our files are each one VM's own, or read-only, so there is nothing to be asked. It speaks with Xen as
``/etc/xen/scripts/block`` does.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

NAME = "xen-block"
PLAIN = re.compile(r"[A-Za-z0-9/._+-]+")  # what may stand before another setting of a disk
SCRIPT = """#!/bin/sh
# Give the file of a disk to a loop device, or take it away.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C
case $1 in
add)
    fail() {
        [ -z "$device" ] || losetup -d "$device"
        xenstore-write "$XENBUS_PATH/hotplug-error" "$1" "$XENBUS_PATH/hotplug-status" error
        exit 1
    }
    device=
    mode=$(xenstore-read "$XENBUS_PATH/mode") && file=$(xenstore-read "$XENBUS_PATH/params") || fail 'no file is named'
    case $mode in *w*) only= ;; *) only=-r ;; esac
    device=$(losetup $only --show -f "$file" 2>&1) || { said=$device device=; fail "$said"; }
    numbers=$(stat -L -c '%t:%T' "$device") || fail "$device is gone"
    # 2: it waits for its device; otherwise Xen has given it up meanwhile, and nobody would take the device away
    [ "$(xenstore-read "$XENBUS_PATH/state")" = 2 ] || fail 'given up'
    xenstore-write "$XENBUS_PATH/node" "$device" "$XENBUS_PATH/physical-device" "$numbers" \\
        "$XENBUS_PATH/physical-device-path" "$device" "$XENBUS_PATH/hotplug-status" connected || fail 'not written'
    ;;
remove)
    device=$(xenstore-read "$XENBUS_PATH/node" 2>/dev/null) || exit 0
    losetup -d "$device"
    ;;
esac
"""


def place(state: Path) -> str:
    """Put the script into a state directory, if it is not there, and return its path; empty: Xen's own must do.

    Xen's own takes over where the path could not be told from a disk's other settings, or no program may run.
    """
    path = state / NAME
    if not PLAIN.fullmatch(str(path)) or os.statvfs(state).f_flag & os.ST_NOEXEC:
        return ""
    if not path.is_file() or path.read_text(encoding="ascii") != SCRIPT:
        fresh = path.with_name(f".{NAME}.{os.getpid()}")
        fresh.write_text(SCRIPT, encoding="ascii")
        fresh.chmod(0o700)
        fresh.replace(path)
    return str(path)
