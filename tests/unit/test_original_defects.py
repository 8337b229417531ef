"""Weak points in the code of the paper's own implementation, and the tests that show that this one has none of them.

One entry for each of the twenty: what it was, and where it is tested. The tests below hold the list against the files.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
COUNT = 20
ENGINE = "unit/backend/lrm/test_engine_"
LESSONS = f"{ENGINE}lessons.py"
HISTORY = "unit/backend/lrm/test_intake_history.py"
PILOT = "integration/pilot/test_"
ADAPTED = "integration/backend/lrm/test_"
REAL = "e2e/lrm/test_slurm_"


@dataclass(frozen=True, slots=True)
class Defect:
    """What was wrong there, and the tests (file::function, below tests/) that show the opposite here."""

    was: str
    tests: tuple[str, ...]


DEFECTS: Mapping[int, Defect] = {
    1: Defect(
        "a repeated report that a node is ready took a second member of the group; reports bore no numbers",
        (
            f"{HISTORY}::test_defect_1_a_report_that_comes_twice_takes_no_second_slot",
            f"{LESSONS}::test_a_repeated_ready_report_claims_no_second_member",
        ),
    ),
    2: Defect(
        "a pilot whose report failed, or that was interrupted while it reserved, left the node without its memory",
        (
            f"{PILOT}signals.py::test_a_signal_while_memory_is_being_reserved_gives_it_back",
            f"{PILOT}signals.py::test_a_service_that_is_away_does_not_eat_the_grace",
            f"{PILOT}agent_faults.py::test_a_reservation_that_fails_is_undone_and_told",
            "integration/nodectl/test_agent_slot.py::test_a_client_that_goes_away_while_memory_moves_leaves_nothing",
            "unit/pilot/test_steps.py::test_an_unexpected_fault_of_a_step_is_undone_too",
        ),
    ),
    3: Defect(
        "the scheduler was never asked: a job that died before its first report left its workspaces waiting for ever",
        (
            f"{LESSONS}::test_a_job_that_dies_before_its_first_report_is_noticed_though_nobody_reports",
            f"{ENGINE}ends.py::test_a_job_that_the_operator_deletes_from_the_queue_takes_the_claim_back",
            f"{REAL}ends.py::test_the_operator_cancels_a_lease_that_waits",
        ),
    ),
    4: Defect(
        "a job whose cancel failed was forgotten, and kept its nodes",
        (
            f"{LESSONS}::test_a_failed_cancel_forgets_neither_the_job_nor_its_slots",
            f"{ENGINE}trouble.py::test_a_cancel_that_fails_is_tried_until_the_scheduler_lists_the_job_no_more",
        ),
    ),
    5: Defect(
        "reports were acknowledged before they were stored, and a report without time limit could eat the grace",
        (
            f"{HISTORY}::test_defect_5_nothing_is_acknowledged_before_it_is_stored",
            f"{HISTORY}::test_defect_5_killed_between_storing_and_answering_the_repeat_is_acknowledged_without_effect",
            f"{ADAPTED}node_door.py::test_a_service_that_is_killed_between_storing_and_answering",
            f"{PILOT}signals.py::test_a_service_that_hangs_does_not_eat_the_grace",
        ),
    ),
    6: Defect(
        "nothing told that a node had been given back",
        (
            f"{LESSONS}::test_the_service_learns_that_the_node_was_given_back",
            "unit/pilot/test_steps.py::test_giving_back_is_tried_again_and_never_said_when_it_did_not_work",
            f"{REAL}life.py::test_a_lease_runs_on_slots_and_gives_everything_back",
        ),
    ),
    7: Defect(
        "a pilot that gave back ended the VMs of all others on its node as well",
        (
            f"{PILOT}real_agent.py::test_two_pilots_of_one_node_keep_to_their_own",
            "integration/nodectl/test_agent_slot.py::test_two_slots_of_one_node_do_not_see_each_other",
        ),
    ),
    8: Defect(
        "where memory was not moved, the pilot ended no VM when its node was taken away",
        (
            f"{PILOT}life.py::test_a_signal_leaves_the_service_its_share_then_the_pilot_ends_the_vms_itself",
            "unit/nodectl/test_slots.py::test_no_memory_is_given_back_under_a_vm_that_cannot_be_ended",
            "integration/nodectl/test_slot_guests.py::test_four_guests_go_with_their_slot",
        ),
    ),
    9: Defect(
        "telling the service and ending the VMs went on side by side, against the service's own cleaning up",
        (
            "unit/pilot/test_steps.py::test_a_notice_gives_the_service_its_share",
            "unit/pilot/test_term.py::test_after_a_notice_the_service_has_its_share_and_a_second_is_never_used",
            f"{PILOT}signals.py::test_orders_are_served_in_the_services_share_and_its_word_ends_it",
        ),
    ),
    10: Defect(
        "the pilot woke in the second in which the scheduler's limit was up",
        (
            f"{LESSONS}::test_a_pilot_ends_its_slot_a_grace_before_the_schedulers_limit_and_after_the_lease",
            "unit/pilot/test_term.py::test_giving_back_begins_before_the_slots_own_end",
        ),
    ),
    11: Defect(
        "the other nodes of a job heard of its end seconds after the first",
        (
            f"{ENGINE}ends.py::test_one_pilot_is_signalled_and_all_others_are_warned_at_once",
            "unit/pilot/test_term.py::test_another_pilots_notice_is_counted_from_when_that_one_got_it",
            f"{ADAPTED}pilots_and_intake.py::test_a_signal_reaches_the_service_and_a_warning_the_others",
        ),
    ),
    12: Defect(
        "clocks had to agree: one that was wrong by more than the grace made a living notice an old one",
        (
            f"{HISTORY}::test_defect_12_a_wrong_clock_on_the_node_changes_nothing",
            f"{LESSONS}::test_a_pilots_clock_that_is_wrong_by_a_day_makes_no_report_stale",
        ),
    ),
    13: Defect(
        "one password, readable by all, let any pilot speak for any slot",
        (
            f"{HISTORY}::test_defect_13_a_pilot_speaks_for_its_own_slot_only",
            "unit/backend/lrm/test_intake.py::test_each_slot_gets_a_key_of_its_own",
            f"{ADAPTED}slurm.py::test_nobody_sees_the_key",
            f"{ADAPTED}node_door.py::test_a_pilots_life_over_tls",
            f"{REAL}bad_input.py::test_forged_reports_change_nothing",
        ),
    ),
    14: Defect(
        "one size of node, one scheduler; nothing else that a request needs was looked at",
        (
            f"{ENGINE}competition.py::test_a_claim_of_two_sizes_is_one_job_where_the_scheduler_can_and_wastes_no_node",
            f"{ENGINE}offers.py::test_networks_disks_and_addresses_that_are_not_there",
            "unit/backend/lrm/test_slurm.py::test_different_sizes_are_one_heterogeneous_job",
            "unit/backend/lrm/test_pbs.py::test_openpbs_is_asked_for_chunks_of_each_size",
        ),
    ),
    15: Defect(
        "sudo was called, and users were looked up, for each step of each VM",
        (
            f"{REAL}bad_input.py::test_sudo_is_called_once_for_each_slot_whatever_is_done_on_it",
            f"{PILOT}life.py::test_a_slot_is_reserved_serves_and_is_given_back",
        ),
    ),
    16: Defect(
        "when nodes were taken away the service itself cleaned nothing up",
        (
            f"{LESSONS}::test_a_preemption_is_told_with_the_services_share_of_the_grace_before_pilots_end_anything",
            f"{REAL}ends.py::test_the_operator_cancels_a_running_lease_and_all_is_given_back_in_its_grace",
            f"{REAL}ends.py::test_a_job_of_a_higher_partition_takes_the_nodes",
        ),
    ),
    17: Defect(
        "the client was not told why its workspace ended",
        (
            f"{LESSONS}::test_the_reason_of_a_preemption_reaches_the_lessee",
            "unit/backend/lrm/test_words.py::test_the_notice_tells_why_the_nodes_go",
        ),
    ),
    18: Defect(
        "of a slot that was over nothing was kept, and late reports were dropped unseen",
        (
            f"{HISTORY}::test_defect_18_what_is_said_of_a_slot_that_is_over_is_kept",
            f"{LESSONS}::test_a_slots_whole_life_is_on_record_late_words_too",
        ),
    ),
    19: Defect(
        "two seconds were all there was to spare between lease and slot: a slow start ended the slot before the lease",
        (f"{LESSONS}::test_a_slot_outlasts_the_lease_however_long_the_scheduler_took_to_start_it",),
    ),
    20: Defect(
        "the dry run and the emergency command had never been run: they used names that did not exist",
        (
            f"{PILOT}program.py::test_a_dry_run_explains_and_probes_and_changes_nothing",
            f"{PILOT}program.py::test_a_dry_run_names_all_that_is_wrong",
            "integration/nodectl/test_sudo.py::test_kill_all_through_sudo_takes_the_slot_from_another_job",
            "unit/nodectl/test_slots.py::test_clear_forgets_all_and_restores_all",
        ),
    ),
}


@cache
def functions(file: Path) -> frozenset[str]:
    """Return the names of a file's test functions that are always run where their surroundings are there."""
    return frozenset(
        node.name
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef) and not any("skip" in ast.unparse(mark) for mark in node.decorator_list)
    )


def test_all_of_them_are_here() -> None:
    assert list(DEFECTS) == list(range(1, COUNT + 1))


@pytest.mark.parametrize("number", DEFECTS)
def test_each_has_tests_that_are_there(number: int) -> None:
    for name in DEFECTS[number].tests:
        file, _, function = name.partition("::")
        assert function in functions(TESTS / file), name


def test_a_name_that_is_not_there_is_noticed() -> None:
    assert "test_nothing_of_this_name" not in functions(TESTS / LESSONS)
