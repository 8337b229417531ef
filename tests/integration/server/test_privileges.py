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


def test_root_is_not_given_to_root(tmp_path: Path) -> None:
    for user, said in (("root", "must not be root"), ("nobody-of-this-name", "does not exist")):
        with pytest.raises(InvalidError, match=said):
            drop(user, tmp_path)
