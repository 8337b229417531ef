#!/usr/bin/env python3
"""Writes the tables of jobs, slots, steps and recovery into docs/developers/lrm.md, from those the engine runs on."""

from __future__ import annotations

from doc_blocks import main, table

from flyinglow.backend.lrm.states import JOB_NEXT, SLOT_NEXT, JobState, LrmSays, PilotSaid
from flyinglow.backend.lrm.steps import RECOVERY, STEPS, Recovery


def jobs() -> str:
    """Return what a listing makes of a job."""
    says = [each for each in LrmSays if each is not LrmSays.UNKNOWN]
    rows = [(f"`{old}`", *(str(new.get(each, "-")) for each in says)) for old, new in JOB_NEXT.items()]
    return table(("job", *map(str, says)), rows)


def slots() -> str:
    """Return what a report makes of a slot."""
    rows = [(f"`{old}`", *(str(new.get(each, "-")) for each in PilotSaid)) for old, new in SLOT_NEXT.items()]
    return table(("slot", *map(str, PilotSaid)), rows)


def recovery() -> str:
    """Return what takes up a slot after a start."""
    rows = [(f"`{slot}`", *(line[job].name.lower() for job in JobState)) for slot, line in RECOVERY.items()]
    meanings = [(each.name.lower(), each.value) for each in Recovery]
    return table(("slot", *map(str, JobState)), rows) + "\n\n" + table(("word", "what happens"), meanings)


def steps() -> str:
    """Return the steps that are committed."""
    return table(("step", "what is committed"), [(f"`{name}`", text) for name, text in STEPS.items()])


if __name__ == "__main__":
    makers = (jobs, slots, recovery, steps)
    main("lrm_state_docs", "developers/lrm.md", {make.__name__: f"\n{make()}\n" for make in makers})
