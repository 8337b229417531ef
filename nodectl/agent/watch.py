"""See what happens to VMs without an order: that one ends, or that its guest says it is ready.

A light look twice a second at processes and consoles, and every few seconds a full one that asks the hypervisor. While
an order for a VM is being carried out, what becomes of it is the answer's business; what is told is how far a transfer
is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from flyinglow.nodectl import processes
from flyinglow.nodectl.errors import FlyingLowError, UnknownError
from flyinglow.nodectl.images import notes
from flyinglow.nodectl.messages import VmInfo, VmStatus
from flyinglow.nodectl.network.firewall import spoofed, words
from flyinglow.nodectl.node import Node
from flyinglow.nodectl.vmdir import ProcessMark

FULL_TURN = 10
UP = (VmStatus.RUNNING, VmStatus.PAUSED)


@dataclass(frozen=True)
class Watched:
    """What was last said of a VM; ``turn`` tells whether an order came between a look and what is made of it."""

    info: VmInfo
    mark: ProcessMark | None
    turn: int


class Watcher:
    """Watches the VMs that are up, and tells when one of them is seen changed."""

    def __init__(self, node: Node, tell: Callable[[VmInfo], None], seconds: float) -> None:
        self._node = node
        self._tell = tell
        self._seconds = seconds
        self._watched: dict[str, Watched] = {}
        self._busy: dict[str, int] = {}
        self._told: dict[str, str] = {}
        self._alarms: dict[str, int] = {}  # how many attempts were told of, by VM
        self._turn = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Watch the VMs that are up already, and whatever orders bring."""
        for info in self._node.list():
            self.seen(info)
        self._thread.start()

    def stop(self) -> None:
        """End the watch."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def begin(self, tag: str) -> None:
        """Keep silent about a VM while an order for it is carried out."""
        with self._lock:
            self._busy[tag] = self._busy.get(tag, 0) + 1

    def finish(self, tag: str, info: VmInfo | None) -> None:
        """Speak of a VM again; ``info`` is what its order was answered with, None when it failed."""
        with self._lock:
            self._busy[tag] -= 1
            if self._busy[tag] == 0:
                del self._busy[tag]
        if info is not None:
            self.seen(info)

    def seen(self, info: VmInfo) -> None:
        """Note what has been said of a VM; one that is not up needs no watch."""
        mark = None if info.pid is None else processes.mark(info.pid)
        with self._lock:
            self._turn += 1
            if info.status in UP:
                self._watched[info.tag] = Watched(info, mark, self._turn)
            else:
                self._watched.pop(info.tag, None)

    def look(self, *, full: bool) -> None:
        """Look at every watched VM once, and tell what has changed."""
        for tag, watched in list(self._watched.items()):
            try:
                self._look(tag, watched, full=full)
            except UnknownError:
                self._forget(tag, watched)
            except (FlyingLowError, OSError):
                continue  # the next look is near, and whoever asks gets the error

    def tell_progress(self) -> None:
        """Tell how far transfers are for the VMs that are worked on, where it changed."""
        with self._lock:
            busy = list(self._busy)
        now = {tag: words for tag in busy if (words := notes.told(self._node.state.vm(tag).path))}
        for tag, words in now.items():
            if self._told.get(tag) != words:
                self._tell(VmInfo(tag, VmStatus.CREATED, progress=words))
        self._told = now

    def _run(self) -> None:
        count = 0
        while not self._stop.wait(self._seconds):
            count += 1
            self.tell_progress()
            self.look(full=count % FULL_TURN == 0)

    def _look(self, tag: str, watched: Watched, *, full: bool) -> None:
        if full:
            self._node.tend(tag)
        elif processes.alive(watched.mark) and (watched.info.ready or not self._node.heard(tag)):
            return
        info = self._node.info(tag)
        if full:
            self._tell_alarm(info)
        if (info.status, info.ready) == (watched.info.status, watched.info.ready):
            return
        with self._lock:
            if tag in self._busy or self._watched.get(tag) != watched:
                return
        self.seen(info)
        self._tell(info)
        if info.ready:
            self._node.tend(tag)

    def _tell_alarm(self, info: VmInfo) -> None:
        """Tell what a guest tried to send as somebody else: at first, and whenever it has become twice as much."""
        count = spoofed(info.dropped)
        with self._lock:
            if info.tag in self._busy or not count or count < 2 * self._alarms.get(info.tag, 0):
                return
            self._alarms[info.tag] = count
        self._tell(replace(info, alarm=words(info.dropped)))

    def _forget(self, tag: str, watched: Watched) -> None:
        with self._lock:
            self._alarms.pop(tag, None)
            if self._watched.get(tag) == watched:
                del self._watched[tag]
