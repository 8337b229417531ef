#!/usr/bin/python3 -ES
"""A Torque 2.5 for tests: jobs are real local processes, all else is one state file behind a lock.

qsub qdel qstat qalter pbsdsh pbsnodes fake-torque-ctl are links to this file, which looks at the name it is called by.
FAKE_TORQUE_DIR names the state directory. README.md has the settings, the faults and what was measured.
"""

import getopt
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rigs.torque import commands, control, running
from rigs.torque.books import WHO, fail

COMMANDS = ("qsub", "qdel", "qstat", "qalter", "pbsdsh", "pbsnodes", "fake-torque-ctl")

if WHO == "fake_torque.py" and sys.argv[1:2] == ["runner"]:
    running.runner(sys.argv[2:])
elif WHO in COMMANDS:
    try:
        (control.fake_torque_ctl if WHO == "fake-torque-ctl" else getattr(commands, WHO))(sys.argv[1:])
    except getopt.GetoptError as error:
        fail(error, 2)
