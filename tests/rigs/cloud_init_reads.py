"""Run as a program of its own, with cloud-init's modules: print as JSON what it understands of a seed's files."""

import json
import sys
from pathlib import Path
from typing import Any

from cloudinit import helpers, util  # type: ignore[import-not-found]
from cloudinit.config import cc_write_files  # type: ignore[import-not-found]
from cloudinit.config.schema import get_schema, validate_cloudconfig_schema  # type: ignore[import-not-found]
from cloudinit.distros import debian  # type: ignore[import-not-found]
from cloudinit.net import eni, netplan, network_state, networkd  # type: ignore[import-not-found]
from cloudinit.sources import DataSourceNoCloud  # type: ignore[import-not-found]

VOLUME = "/dev/vdz"


def source_of(files: Path, root: Path) -> Any:
    """Let NoCloud find one volume, which holds these files."""
    paths = helpers.Paths({"cloud_dir": str(root / "cloud"), "run_dir": str(root / "run")})
    paths.datasource = None
    source = DataSourceNoCloud.DataSourceNoCloud({}, debian.Distro("debian", {}, paths), paths)
    source._get_devices = lambda label: [VOLUME] if label == "cidata" else []
    util.mount_cb = lambda device, callback, data=None, **_: callback(str(files), data)
    util.find_devs_with = lambda *_, **__: []
    assert source.get_data(), "NoCloud takes nothing of it"
    return source


def config_of(raw: Any) -> dict[str, Any]:
    """Read a part as cloud-config and hold it against cloud-init's own schema."""
    text = util.decode_binary(raw or b"")
    if not text.startswith("#cloud-config"):
        return {}
    config: dict[str, Any] = util.load_yaml(text)
    validate_cloudconfig_schema(config, get_schema(), strict=True)
    return config


def write(config: dict[str, Any], root: Path) -> None:
    """Write its files as cloud-init does, but below ``root``."""
    for each in config.get("write_files", ()):
        target = root / each["path"].lstrip("/")
        cc_write_files.write_files("write_files", [{**each, "path": str(target)}], "root:root")


def rendered(config: Any, root: Path) -> dict[str, str]:
    """Return the files that cloud-init's renderers make of the network's configuration, by their names."""
    for renderer in (eni.Renderer(), netplan.Renderer(), networkd.Renderer({})):
        state = network_state.parse_net_config_data(config, renderer=renderer)
        renderer.render_network_state(state, target=str(root))
    found = (path for path in root.rglob("*") if path.is_file() and "flyinglow" not in path.parts)
    return {str(path.relative_to(root)): path.read_text() for path in found}


def main(files: Path, root: Path) -> None:
    """Print it all."""
    root.mkdir()
    netplan.subp.subp = lambda *_, **__: ("", "")  # netplan itself is not here
    source = source_of(files, root)
    user, vendor = config_of(source.get_userdata_raw()), config_of(source.get_vendordata_raw())
    write({**vendor, **user}, root / "written")
    answer = {
        "instance": source.get_instance_id(),
        "hostname": source.get_hostname().hostname,
        "keys": source.get_public_ssh_keys(),
        "user_data": util.decode_binary(source.get_userdata_raw() or b""),
        "user": user,
        "vendor": vendor,
        "network": rendered(source.network_config, root / "network") if source.network_config else {},
    }
    sys.stdout.write(json.dumps(answer))


main(Path(sys.argv[1]), Path(sys.argv[2]))
