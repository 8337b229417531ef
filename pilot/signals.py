"""The signals by which batch schedulers give notice, all taken alike (section 3.2 of the paper).

Slurm and PBS send TERM (Torque twenty times within 40 ms), Grid Engine USR2 or what its site says, a time limit XCPU
or USR1, a closed terminal HUP. The handlers do nothing: the interpreter writes each number into the bell's pipe.
"""

from __future__ import annotations

import signal

NOTICES = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU, signal.SIGHUP)


def hold_back() -> None:
    """Keep all of them pending until ``catch``: the program is still being loaded."""
    signal.pthread_sigmask(signal.SIG_BLOCK, NOTICES)


def catch(descriptor: int) -> None:
    """Have every notice written to ``descriptor``, those held back first."""
    signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
    for number in NOTICES:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, NOTICES)


def name_of(number: int) -> str:
    """Return what a signal is called."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
