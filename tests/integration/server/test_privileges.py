"""What is left of root after it was given away: the user's own groups, and no way back."""

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from flyinglow.nodectl.errors import InvalidError
from flyinglow.server.privileges import drop

CHILD = """
import json, os, sys
from pathlib import Path
from flyinglow.nodectl.errors import BrokenError
from flyinglow.server.privileges import drop
os.setgroups([0, 4, 6])
try:
    drop(sys.argv[1], Path(sys.argv[2]))
except BrokenError:
    pass  # the user may not read where this interpreter is
print(json.dumps([os.getresuid(), os.getresgid(), sorted(os.getgroups())]))
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has root to give away")


@pytest.mark.parametrize("user", ["daemon", "nobody"])
def test_only_the_users_own_groups_are_left(tmp_path: Path, user: str) -> None:
    state = tmp_path / "state"
    done = subprocess.run([sys.executable, "-c", CHILD, user, str(state)], capture_output=True, check=True, timeout=180)
    uids, gids, groups = json.loads(done.stdout)
    entry = pwd.getpwnam(user)
    assert uids == [entry.pw_uid] * 3
    assert gids == [entry.pw_gid] * 3
    assert groups == sorted(set(os.getgrouplist(user, entry.pw_gid)) - {0})
    assert (state.stat().st_uid, state.stat().st_gid) == (entry.pw_uid, entry.pw_gid)


def handed_over(state: Path, user: str) -> dict[str, int]:
    """Drop root in a process of its own; return whose each file is then."""
    subprocess.run([sys.executable, "-c", CHILD, user, str(state)], capture_output=True, check=True, timeout=180)
    return {path.name: path.lstat().st_uid for path in state.iterdir()}


def test_only_what_root_made_is_handed_over(tmp_path: Path) -> None:
    state, daemon, other = tmp_path / "state", pwd.getpwnam("daemon").pw_uid, pwd.getpwnam("games").pw_uid
    state.mkdir()
    secret = tmp_path / "secret"
    secret.write_text("root's")
    (state / "own").write_text("made by an earlier start")
    (state / "theirs").write_text("somebody's")
    os.chown(state / "theirs", other, other)
    (state / "link").symlink_to(secret)
    (state / "hard").hardlink_to(secret)
    assert handed_over(state, "daemon") == {"own": daemon, "theirs": other, "link": 0, "hard": 0}
    assert secret.stat().st_uid == 0


def test_nothing_in_a_directory_of_another_is_handed_over(tmp_path: Path) -> None:
    state, other = tmp_path / "state", pwd.getpwnam("games").pw_uid
    state.mkdir()
    (state / "file").write_text("root's")
    os.chown(state, other, other)
    assert handed_over(state, "daemon") == {"file": 0}


def test_root_is_not_given_to_root(tmp_path: Path) -> None:
    for user, said in (("root", "must not be root"), ("nobody-of-this-name", "does not exist")):
        with pytest.raises(InvalidError, match=said):
            drop(user, tmp_path)
