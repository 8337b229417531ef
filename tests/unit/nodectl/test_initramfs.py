"""The archive the kernel unpacks, read back by its own rules."""

from pathlib import Path

from flyinglow.nodectl.guest import initramfs


def _entries(data: bytes) -> dict[str, tuple[int, tuple[int, int], bytes]]:
    found, at = {}, 0
    while at < len(data):
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name = data[at + 110 : at + 110 + fields[11] - 1].decode()
        start = (at + 110 + fields[11] + 3) // 4 * 4
        found[name] = (fields[1], (fields[9], fields[10]), data[start : start + fields[6]])
        assert fields[2:4] == [0, 0]  # everything is root's
        at = (start + fields[6] + 3) // 4 * 4
    return found


def test_files_links_folders_and_devices(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "dev").mkdir()
    (root / "init").write_bytes(b"#!x")
    (root / "init").chmod(0o755)
    (root / "bin/sh").symlink_to("busybox")
    initramfs.write(root, tmp_path / "out")
    entries = _entries((tmp_path / "out").read_bytes())
    assert entries["init"] == (0o100755, (0, 0), b"#!x")
    assert entries["bin/sh"] == (0o120777, (0, 0), b"busybox")
    assert entries["bin"][0] == 0o040755
    assert entries["dev/console"] == (0o020600, (5, 1), b"")
    assert list(entries)[-1] == "TRAILER!!!"
