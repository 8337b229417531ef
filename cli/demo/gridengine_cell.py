"""Makes the cell of the demo's private Grid Engine: its files, its hosts, its parallel environment and its queue."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from flyinglow.cli.demo import gridengine_conf
from flyinglow.cli.demo.gridengine_conf import GridEngineOptions
from flyinglow.cli.demo.gridengine_packages import ARCHITECTURE


class Cell:
    """A cell below ``directory``; ``run`` runs one of Grid Engine's programs on the head as root, or raises."""

    def __init__(
        self, directory: Path, options: GridEngineOptions, run: Callable[..., subprocess.CompletedProcess[str]]
    ) -> None:
        self._directory, self._options, self._run = directory, options, run
        self._root, self._spool = directory / "ge", directory / "spool"

    def make(self) -> None:
        """Lay the cell out, before the qmaster starts."""
        common, library = self._root / "default/common", "/run/ge/libspoolc"
        (common / "act_qmaster").write_text(f"{gridengine_conf.HEAD}\n")
        (common / "bootstrap").write_text(gridengine_conf.bootstrap(self._root, self._spool, library))
        conf = self._write("cluster", gridengine_conf.cluster(self._options, self._spool))
        tools, resources = self._root / "utilbin" / ARCHITECTURE, self._root / "util/resources"
        place = f"{common};{self._spool}/qmaster"
        self._run([str(tools / "spoolinit"), "classic", library, place, "init"])
        for words in (
            ("configuration", conf),
            ("complexes", f"{resources}/centry"),
            ("usersets", f"{resources}/usersets"),
            ("managers", "root"),
        ):
            self._run([str(tools / "spooldefaults.bin"), *words])

    def furnish(self) -> None:
        """Tell the running qmaster of its hosts, the parallel environment and the queue."""
        conf, nodes = gridengine_conf, ",".join(self._options.names)
        queue = conf.queue(self._options, self._run(["qconf", "-sq"]).stdout, self._directory / "tmp")
        scheduler = conf.scheduler(self._run(["qconf", "-ssconf"]).stdout)
        for words in (
            ("-ah", nodes),
            ("-as", f"{conf.HEAD},{nodes}"),
            ("-Ap", self._write("pe", conf.parallel_environment())),
            ("-Ahgrp", self._write("hosts", conf.host_group(self._options))),
            ("-Aq", self._write("queue", queue)),
            ("-Msconf", self._write("scheduler", scheduler)),
        ):
            self._run(["qconf", *words])

    def _write(self, name: str, text: str) -> str:
        path = self._directory / "etc" / f"{name}.conf"
        path.write_text(text)
        return str(path)
