"""A private Grid Engine of N nodes for the demo and the tests: a real qmaster and execds, each node a space of its own.

See ``cluster`` for the machines. Nothing is installed: Grid Engine's packages are unpacked. Needs root.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flyinglow.cli.demo import gridengine_conf
from flyinglow.cli.demo.cluster import TURN, USERS, Cluster
from flyinglow.cli.demo.gridengine_cell import Cell
from flyinglow.cli.demo.gridengine_packages import ARCHITECTURE, unpacked
from flyinglow.cli.demo.spaces import PATH
from flyinglow.nodectl.errors import BrokenError

_END = 90.0


class GridEngineWorld(Cluster):
    """The cluster with Grid Engine."""

    TITLE = "Grid Engine"
    COMMANDS = ("qsub", "qstat", "qdel", "qalter", "qconf", "qhost", "qacct", "qmod")
    PARTS = ("spool/qmaster", "tmp", "ge/default/common")
    HEAD = f'ln -s "$root/ge/lib/{ARCHITECTURE}" /run/ge\n'  # the spooling library's path must be short
    NODE = 'mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"\n'

    def __init__(
        self,
        directory: Path,
        *,
        networks: Sequence[str] = ("public", "private"),
        sudoers: Sequence[str] = (),
        packages: Path | None = None,
        debs: Path | None = None,
        **options: Any,
    ) -> None:
        """Prepare; ``options`` are those of ``gridengine_conf.GridEngineOptions``.

        ``packages`` keeps the unpacked programs for the next world, where they are not to vanish with this one;
        ``debs`` has the package files, else they are downloaded.
        """
        self.options = gridengine_conf.GridEngineOptions(**options)
        super().__init__(directory, self.options.names, networks, sudoers)
        self._packages = packages or self.directory / "packages"
        self._debs = debs

    @property
    def environment(self) -> dict[str, str]:
        """What every Grid Engine command inside needs."""
        return {
            "SGE_ROOT": str(self._root),
            "SGE_CELL": "default",
            "SGE_ARCH": ARCHITECTURE,
            "SGE_CLUSTER_NAME": "flyinglow",
            "SGE_QMASTER_PORT": "6444",
            "SGE_EXECD_PORT": "6445",
            "PATH": f"{self._root}/bin/{ARCHITECTURE}:{PATH}",
        }

    def node_states(self) -> dict[str, str]:
        """Return the state letters of every node's queue, none when it takes jobs; {} while nobody answers."""
        done = self.run_in_head(["qstat", "-f", "-q", gridengine_conf.QUEUE], check=False)
        lines = [line.split() for line in done.stdout.splitlines() if line.startswith(f"{gridengine_conf.QUEUE}@")]
        plain = 5  # columns; a sixth has the letters
        return {words[0].partition("@")[2]: "".join(words[plain:]) for words in lines}

    def is_ready(self, state: str) -> bool:
        """Tell whether a node whose queue has these letters can take jobs."""
        return not state

    def program(self, name: str) -> str:
        """Return the path of one of Grid Engine's commands."""
        return str(self._root / "bin" / ARCHITECTURE / name)

    def boot(self, node: str, seconds: float = 180) -> None:
        """Start a node that crashed; its disk is as it was, its /run is empty."""
        self._furnish_node(node)
        self._start_execd(node, seconds)

    def stop_controller(self) -> None:
        """End the qmaster; jobs run on."""
        pid = (self.directory / "spool/qmaster/qmaster.pid").read_text().strip()
        self.run_in_head(["kill", pid])
        end = time.monotonic() + _END
        while not self.run_in_head(["kill", "-0", pid], check=False).returncode:
            if time.monotonic() > end:
                raise BrokenError("the qmaster does not end")
            time.sleep(TURN)

    def start_controller(self, seconds: float = 180) -> None:
        """Start the qmaster again, with what it knew."""
        log = self.directory / "log/qmaster.log"
        self.run_in_head(["sh", "-c", 'exec sge_qmaster </dev/null >"$1" 2>&1', "sh", str(log)])
        end = time.monotonic() + seconds
        while self.run_in_head(["qconf", "-sh"], check=False).returncode:
            if time.monotonic() > end:
                raise BrokenError(f"the qmaster did not start: {log.read_text(errors='replace')[-800:]}")
            time.sleep(TURN)

    @property
    def _root(self) -> Path:
        return self.directory / "ge"

    def _start(self, seconds: float) -> None:
        cell = Cell(self.directory, self.options, self.run_in_head)
        cell.make()
        self.start_controller(seconds)
        cell.furnish()
        for name in self.names:
            self._furnish_node(name)
        for name in self.names:
            self._start_execd(name, seconds)

    def _start_execd(self, name: str, seconds: float) -> None:
        self.node(name).wait_up(seconds)
        log = self.directory / "log" / f"execd.{name}.log"
        # it takes a second to become a daemon, so all of them do at once
        self.run_on(name, ["sh", "-c", 'exec </dev/null >"$1" 2>&1; sge_execd &', "sh", str(log)])

    def _lay_out(self) -> None:
        programs = unpacked(self._packages, self._debs)
        super()._lay_out()
        (self.directory / "tmp").chmod(0o1777)
        for part in ("bin", "lib", "utilbin"):
            (self._root / part).mkdir(exist_ok=True)
            (self._root / part / ARCHITECTURE).symlink_to(programs)
        (self._root / "util").symlink_to(programs.parent.parent / "share/gridengine/util")


__all__ = ["USERS", "GridEngineWorld"]
