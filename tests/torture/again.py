"""Faults that the library once had, put back one at a time: the test that holds each now must fail.

    python tests/torture/again.py            all of them, some minutes
    python tests/torture/again.py NAME...    these, and what the test says

docs/explanation/track-record.md tells of each: what a user saw, what found it, and where it came from. A fault is put
into a copy of the library, so the checkout stays as it is. The tests are run without a fault first, and must pass.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parents[2]
LONGEST = 100  # seconds: some faults are that a test hangs, which it notices itself after 60 if it can


class Fault(NamedTuple):
    module: str
    old: str
    new: str
    test: str  # which fails, below tests/


FAULTS = {
    # Reading and writing
    "missing-keys-invented": Fault(
        "codec/documents",
        "    required = known - _OPTIONAL\n",
        "    required: set[str] = set()\n",
        "codec/test_documents.py::test_a_missing_key_is_corrupt",
    ),
    "coerced": Fault(
        "codec/converter",
        "            if found == value and type(found) is type(value):\n",
        "            if found == value:\n",
        "codec/test_coercion.py::test_nothing_is_coerced",
    ),
    "nanoseconds-unequal": Fault(
        "model/timestamps",
        "    def __ne__(self",
        "    def _differs(self",
        "model/test_timestamps.py::test_nanoseconds_decide_where_the_microseconds_are_equal",
    ),
    "users-hook": Fault(
        "codec/documents",
        "    made = make_converter()\n    made.register_unstructure_hook(Session",
        "    made = converter()\n    made.register_unstructure_hook(Session",
        "codec/test_documents.py::test_a_hook_of_the_users_does_not_change_the_kernels_documents",
    ),
    "subclass-cut": Fault(
        "sessions/repository",
        "        if type(session) is not Session:",
        "        if not isinstance(session, Session):",
        "guarantees/test_races.py::test_what_a_subclass_adds_is_not_lost_silently",
    ),
    "endless-error": Fault(
        "codec/converter",
        "MOST_FAULTS = 20\n",
        "MOST_FAULTS = 10**9\n",
        "codec/test_refusals.py::test_a_document_that_is_all_wrong_tells_twenty_faults",
    ),
    "callers-stack": Fault(
        "codec/json_text",
        "        if _brackets_deep(text) <= DEEPEST:\n",
        "        if False:\n",
        "codec/test_refusals.py::test_a_deep_stack_of_the_callers_is_not_taken_for_a_deep_document",
    ),
    "engines-differ": Fault(
        "codec/documents",
        "        if depth_exceeds(value, _READ_BY_BOTH):\n",
        "        if False:\n",
        "codec/test_refusals.py::test_a_session_that_is_nested_far_too_deep_is_refused_in_the_same_words",
    ),
    "frozen-for-ever": Fault(
        "model/immutable",
        " or id(value) in around:",
        ":",
        "model/test_immutable.py::test_what_holds_itself_many_times_is_left_to_be_refused_on_saving",
    ),
    # Directories
    "directory-leaks": Fault(
        "storage/reads",
        "        if not stat.S_ISREG(status.st_mode):\n",
        "        if not stat.S_ISREG(status.st_mode):\n            os.dup(descriptor)\n",
        "guarantees/test_file_kinds.py::test_what_is_not_a_file_neither_hangs_nor_leaks_and_is_named",
    ),
    "pipe-hangs": Fault(
        "storage/atomic_write",
        "        descriptor = os.open(path, os.O_RDWR | flags)",
        "        descriptor = os.open(path, os.O_WRONLY | flags & ~os.O_NONBLOCK)",
        "guarantees/test_file_kinds.py::test_what_has_the_name_of_a_temporary_file_neither_stops_nor_breaks_a_prune",
    ),
    "circle-of-links": Fault(
        "storage/tree",
        "        except (InvalidNameError, OSError):  # OSError: links",
        "        except InvalidNameError:  # OSError: links",
        "guarantees/test_file_kinds.py::test_what_is_not_a_file_does_not_keep_a_category_from_being_listed_or_a_document_from_being_saved",
    ),
    "listed-not-loaded": Fault(
        "storage/tree",
        "            self.refuse_link_outside(Path(entry))\n",
        "",
        "guarantees/test_file_kinds.py::test_a_document_that_is_a_link_outside_is_not_listed",
    ),
    "restored-outside": Fault(
        "storage/tree",
        '        if self.base not in path.parents or ".." in parts or parts[0] == OWN_PREFIX:\n',
        "        if False:\n",
        "guarantees/test_hostile_names.py::test_a_reason_cannot_lead_outside",
    ),
    "name-not-utf8": Fault(
        "maintenance/quarantine",
        'quote_from_bytes(os.fsencode(os.path.relpath(path, tree.base)), safe="/ ")',
        "os.path.relpath(path, tree.base)",
        "maintenance/test_quarantine.py::test_a_name_that_is_not_utf8_can_be_quarantined_and_restored",
    ),
    # Power cuts, failing system calls, killed writers
    "anothers-directory": Fault(
        "storage/tree",
        "        while not directory.is_dir() or (\n"
        "            self.durable and self.base in directory.parents and directory not in self._lasting\n"
        "        ):\n",
        "        while not directory.is_dir():\n",
        "storage/test_atomic_write.py::test_a_category_that_another_made_is_synced_once_for_a_store_that_saves_into_it",
    ),
    "unsynced-directory": Fault(
        "storage/tree",
        "                    if made:\n",
        "                    if False:\n",
        "storage/test_atomic_write.py::test_a_base_whose_sync_failed_is_synced_by_the_next_store",
    ),
    "gitignore-torn": Fault(
        "storage/tree",
        '                if found != b"*\\n" and not found.strip(b"*\\n\\0"):\n',
        "                if not ignore.exists():\n",
        "storage/test_atomic_write.py::test_the_own_directory_is_ignored_by_git_unless_the_user_says_otherwise",
    ),
    "own-litter": Fault(
        "storage/atomic_write",
        '    for name in ("cache", "quarantine"):\n',
        "    for name in ():\n",
        "storage/test_temporary_files.py::test_what_dead_writers_left_among_the_librarys_own_files_is_swept",
    ),
    "unlock-hides": Fault(
        "storage/locks",
        "    with suppress(OSError):  # what was done",
        "    if True:  # what was done",
        "storage/test_process_locks.py::test_a_failing_unlock_hides_nothing_and_leaves_the_lock_free",
    ),
    "never-locked": Fault(
        "storage/atomic_write",
        "        for _ in range(_CREATE_TRIES):\n",
        "        while True:\n",
        "guarantees/test_races.py::test_a_system_that_never_locks_a_temporary_file_is_an_error",
    ),
    "taken-for-missing": Fault(
        "storage/reads",
        "    except (FileNotFoundError, NotADirectoryError):\n        return _is_listed(path)\n    return True",
        "    except OSError:\n        return False\n    return True",
        "sessions/test_repository.py::test_edit_does_not_take_a_disk_error_for_a_missing_session",
    ),
    "taken-for-sound": Fault(
        "maintenance/check",
        "tree.walk(failures.append)",
        "tree.walk()",
        "maintenance/test_check.py::test_an_unreadable_base_is_not_reported_as_sound",
    ),
    "replaced-unread": Fault(
        "maintenance/replacing",
        "    if reading.is_file(path) and (raw := reading.read(path)) is not None:\n",
        "    try:\n"
        "        raw = reading.read(path)\n"
        "    except PermissionError:\n"
        "        return None\n"
        "    if raw is not None:\n",
        "maintenance/test_quarantine.py::test_an_unreadable_document_is_not_replaced",
    ),
    "replaced-without-copy": Fault(
        "storage/reads",
        "        if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:\n            raise\n",
        "",
        "maintenance/test_quarantine.py::test_a_document_is_not_replaced_if_its_status_is_unknown",
    ),
    # Two at once
    "archived-into-itself": Fault(
        "store",
        "            if self._tree.real_category(archive) == self._tree.real_category(SESSIONS):\n",
        "            if archive == SESSIONS:\n",
        "guarantees/test_races.py::test_an_archive_that_is_the_sessions_by_another_name_is_refused",
    ),
    "archived-fresh": Fault(
        "storage/tree",
        "            if linked and os.path.samefile(path, target):\n",
        "            if linked:\n",
        "guarantees/test_races.py::test_a_save_by_the_kernel_while_a_session_is_archived_stays",
    ),
    "created-over": Fault(
        "sessions/repository",
        "                        self.update_session(session)\n",
        "                        self.save_session(session)\n",
        "guarantees/test_races.py::test_a_session_that_the_kernel_makes_meanwhile_is_not_overwritten",
    ),
    "misnamed-lost": Fault(
        "sessions/repository",
        "codec.decode_named, known",
        "codec.decode_session, known",
        "maintenance/test_quarantine.py::test_a_save_copies_a_session_of_another_id_to_quarantine",
    ),
    "prune-of-nothing": Fault(
        "sessions/pruning",
        "        with suppress(FileNotFoundError):  # then",
        "        if True:  # then",
        "sessions/test_pruning.py::test_sessions_whose_directory_was_deleted_are_not_removed",
    ),
    "handler-in-lock": Fault(
        "storage/locks",
        "        if not lock.depth:  # a signal handler",
        "        if False:  # a signal handler",
        "guarantees/test_races.py::test_a_signal_handler_does_not_enter_a_lock_that_its_thread_is_taking",
    ),
    "dead-threads-lock": Fault(
        "storage/locks",
        "        token: object = _threads.token\n    except",
        "        token: object = __import__('sys').intern(str(threading.get_ident()))\n    except",
        "guarantees/test_races.py::test_the_lock_of_a_dead_thread_is_not_that_of_the_next",
    ),
    "place-in-queue": Fault(
        "storage/locks",
        "        try:\n"
        "            with self._state:\n"
        "                if self.owner is None:\n"
        "                    self.owner = _this_thread()\n"
        "                    return True\n"
        "                self._waiting.append(woken)\n",
        "        with self._state:\n"
        "            if self.owner is None:\n"
        "                self.owner = _this_thread()\n"
        "                return True\n"
        "            self._waiting.append(woken)\n"
        "        try:\n",
        "storage/test_locks.py::test_an_interrupt_as_a_waiter_joins_the_queue_leaves_no_place_behind",
    ),
    # What is kept in memory and in the file of summaries
    "emptied-file": Fault(
        "storage/revisions",
        "self.digest if self.identity is None else UNKNOWN)",
        "self.digest if self.identity is None else None)",
        "storage/test_revisions.py::test_a_file_that_an_editor_has_just_emptied_to_write_it_anew_is_not_pruned",
    ),
    "same-mark": Fault(
        "storage/revisions",
        "    below = _KEPT + token % (_MICROSECOND - _KEPT)\n",
        "    below = 0\n",
        "storage/test_revisions.py::test_a_mark_is_not_what_a_file_system_with_coarse_times_could_keep",
    ),
    "kept-as-changed": Fault(
        "sessions/repository",
        "            self._recent.keep(path, session.revision, image)\n",
        "            self._recent.keep(path, session.revision, recent.image_of(session, path)[1])\n",
        "sessions/test_cache.py::test_a_change_during_a_save_is_not_taken_for_saved",
    ),
    "childs-wait": Fault(
        "sessions/cache",
        "        forking.in_children(self, RecentSessions._start_afresh)\n",
        "",
        "sessions/test_cache.py::test_a_forked_child_does_not_wait_for_a_thread_of_its_parent",
    ),
    "handlers-wait": Fault(
        "sessions/cache",
        "threading.RLock()  # for the handler",
        "threading.Lock()  # for the handler",
        "sessions/test_cache.py::test_a_signal_handler_can_use_the_cache_that_it_interrupts",
    ),
    "cost-of-nothing": Fault(
        "sessions/cache",
        "self._cost = 0  # first",
        "pass  # first",
        "sessions/test_cache.py::test_an_interrupt_empties_the_cache",
    ),
    "bound-exceeded": Fault(
        "sessions/cache",
        "_OVERHEAD = 3000\n_PER_BYTE = 8\n",
        "_OVERHEAD = 0\n_PER_BYTE = 5\n",
        "sessions/test_memory_bound.py::test_the_cache_uses_no_more_memory_than_the_bound",
    ),
    "id-of-a-subclass": Fault(
        "model/session",
        "return value if type(value) is SessionId else",
        "return value if isinstance(value, SessionId) else",
        "sessions/test_cache.py::test_an_id_of_a_subclass_becomes_a_plain_one",
    ),
    "structured-late": Fault(
        "codec/documents",
        "lambda value, _: _structure_at_once(value, cls)",
        "lambda value, _: _kernel().structure(value, cls)",
        "model/test_records.py::test_what_a_caller_structures_is_his_to_change_later",
    ),
    "listing-makes": Fault(
        "sessions/summarycache",
        "            if not self._is_ours():",
        "            if False:",
        "sessions/test_index_file.py::test_listing_creates_no_base_directory",
    ),
    "rows-of-anything": Fault(
        "sessions/summarycache",
        "        _check(list(zip(*rows, strict=True)))\n",
        "        pass\n",
        "sessions/test_index_file.py::test_a_bad_row_invalidates_the_file",
    ),
    "deep-cache": Fault(
        "sessions/summarycache",
        "TypeError, RecursionError)",
        "TypeError)",
        "sessions/test_index_file.py::test_a_file_that_is_not_a_cache_is_ignored",
    ),
    "anothers-list": Fault(
        "sessions/index",
        "            if self._last is last:\n",
        "            if self._last and self._last is not last:\n"
        "                found = found._replace(entries=self._last.entries)\n"
        "            if True:\n",
        "sessions/test_index.py::test_a_list_is_not_mixed_with_one_that_began_earlier",
    ),
    "title-outlives": Fault(
        "sessions/summarycache",
        ".keys() <= entries.keys():  # a title",
        ".keys() is not None:  # a title",
        "sessions/test_index.py::test_the_cache_file_drops_the_title_of_a_deleted_session",
    ),
    # Network file systems
    "stale-name": Fault(
        "storage/reads",
        "    for _ in range(_TRIES - 1):\n",
        "    for _ in range(0):\n",
        "storage/test_nfs.py::test_a_file_that_another_machine_replaces_while_it_is_opened_is_opened_again",
    ),
    "shared-delegation": Fault(
        "storage/reads",
        "    if _is_on_nfs(directory):\n        _names(directory)\n",
        "",
        "storage/test_nfs.py::test_who_takes_a_lock_on_nfs_looks_at_all_names_once",
    ),
    "taken-for-absent": Fault(
        "storage/reads",
        "                return True\n    return False\n",
        "                return False\n    return False\n",
        "storage/test_nfs.py::test_a_session_that_nfs_does_not_find_while_it_is_replaced_is_there",
    ),
    # Real disks, threads without the GIL, and mutants
    "restored-comes-back": Fault(
        "maintenance/quarantine",
        '    tree.sync(entry.content.parents[1], f"{entry.path.name} is restored")\n',
        "",
        "storage/test_atomic_write.py::test_a_removal_is_synced_and_a_move_is_synced_first_where_it_goes",
    ),
    "anothers-name": Fault(
        "documents",
        "        self._spelling.refuse_document(path)\n        return self._tree.remove(path)\n",
        "        return self._tree.remove(path)\n",
        "storage/test_aliases.py::test_a_change_by_the_name_of_another_document_is_refused",
    ),
    "two-converters": Fault(
        "codec/documents",
        "    return _made[0]\n",
        "    return _made[-1]\n",
        "guarantees/test_first_use.py::test_threads_that_ask_for_the_converter_first_all_get_one",
    ),
    "throttle-held": Fault(
        "sessions/retention",
        "        forking.in_children(self, PruneThrottle._start_afresh)\n",
        "",
        "guarantees/test_forks.py::test_a_child_asks_a_throttle_that_a_thread_of_its_parent_was_asking",
    ),
    "imports-deadlock": Fault(
        "codec/json_text",
        "    from json import encoder  # not `from json.encoder`",
        "    from json.encoder import encode_basestring\n\n"
        "    encoder = __import__('types').SimpleNamespace(encode_basestring=encode_basestring)  #",
        "guarantees/test_first_use.py::test_threads_that_read_and_write_json_first_do_not_wait_for_each_others_imports",
    ),
    "title-of-another-list": Fault(
        "sessions/index",
        "        if not self._keeping.acquire(blocking=False):\n"
        "            return\n"
        "        try:\n"
        "            if self._last is last:\n"
        "                self._last = found._replace(written=self._cache.write(found.entries, found.written))\n"
        "        finally:\n"
        "            self._keeping.release()\n",
        "        self._last = found._replace(written=self._cache.write(found.entries, found.written))\n",
        "sessions/test_index.py::test_the_cache_file_drops_the_title_of_a_deleted_session_when_threads_list",
    ),
    "id-left-as-it-is": Fault(
        "codec/documents",
        "    made.register_unstructure_hook(SessionId, str)\n",
        "",
        "codec/test_documents.py::test_the_converter_of_all_stores_gives_a_session_id_as_a_plain_string",
    ),
    "other-lock-named": Fault(
        "storage/locks",
        '_wait_for_file(descriptor, f"{stem}.lock", deadline)',
        '_wait_for_file(descriptor, f"{stem}.turn", deadline)',
        "storage/test_process_locks.py::test_a_failing_lock_call_names_the_very_file",
    ),
    # A second review, and clients of NFS by turns
    "same-tick": Fault(
        "storage/reads",
        "    if not _is_on_nfs(directory):\n        return\n",
        "    return\n",
        "storage/test_nfs.py::test_what_was_done_under_a_lock_on_nfs_has_a_time_of_its_own",
    ),
    "category-absent": Fault(
        "documents",
        "        reading.look_at(self._tree.directory(category))\n",
        "",
        "storage/test_nfs.py::test_a_category_that_is_not_there_is_looked_for_from_above",
    ),
    "listed-and-absent": Fault(
        "storage/reads",
        "            time.sleep(_PAUSE)\n",
        "",
        "storage/test_nfs.py::test_what_nfs_does_not_find_until_the_directory_changes_again_is_waited_for",
    ),
    "device-again": Fault(
        "storage/reads",
        "    key = status.st_dev, status.st_ino\n",
        "    key = status.st_dev, 0\n",
        "storage/test_nfs.py::test_the_number_of_a_device_may_be_another_file_systems_later",
    ),
    "mounts-forbidden": Fault(
        "storage/nfs",
        "    except OSError:  # there is none",
        "    except FileNotFoundError:  # there is none",
        "storage/test_nfs.py::test_a_system_that_tells_no_mounts_tells_none",
    ),
    "deep-and-absent": Fault(
        "storage/reads",
        "                directory = files.parent(directory)\n                continue\n",
        "                look_at(directory.parent)\n",
        "storage/test_locks.py::test_each_category_has_its_own_lock_whatever_its_name",
    ),
    "links-deadlock": Fault(
        "documents",
        "sorted(set(categories), key=self._tree.real_category)",
        "sorted(set(categories))",
        "sessions/test_pruning.py::test_two_locks_are_taken_in_the_order_of_the_real_directories",
    ),
    "prune-cut-short": Fault(
        "store",
        "        finally:  # also what was removed",
        "        else:  # also what was removed",
        "sessions/test_pruning.py::test_an_interrupted_prune_syncs_what_it_removed",
    ),
    "copies-of-nothing": Fault(
        "maintenance/replacing",
        "            if reading.read(path) == content:",
        "            if False:",
        "maintenance/test_quarantine.py::test_a_failed_save_over_a_corrupt_document_leaves_no_copy",
    ),
    "locked-out-by-root": Fault(
        "sessions/summarycache",
        "            if not self._is_ours():\n",
        "            if not os.path.isdir(self._tree.base):\n",
        "sessions/test_index_file.py::test_root_writes_no_file_into_another_users_store",
    ),
    "no-links-enosys": Fault(
        "storage/tree",
        "        if error.errno in _NO_LINKS:\n",
        "        if error.errno in {errno.EPERM, errno.EACCES}:\n",
        "storage/test_atomic_write.py::test_a_move_never_replaces_another_file",
    ),
    "no-locks-unsaid": Fault(
        "storage/atomic_write",
        "locks.try_lock(self._descriptor, temporary)",
        "locks.lock_descriptor(self._descriptor, blocking=False)",
        "storage/test_process_locks.py::test_a_file_system_without_locks_is_a_clear_error",
    ),
    "pipe-ignored": Fault(
        "storage/tree",
        "COMMON | NO_LINK | NO_WAIT, 0o600)",
        "COMMON | NO_LINK, 0o600)",
        "storage/test_atomic_write.py::test_what_is_in_the_place_of_the_ignore_file_stops_nothing",
    ),
    "names-beyond-ascii": Fault(
        "storage/names",
        "        os.fsencode(component)\n",
        "        pass\n",
        "storage/test_names.py::test_what_the_encoding_of_file_names_cannot_hold_is_refused",
    ),
    "sound-names-moved": Fault(
        "cli/commands",
        " for kind in ProblemKind if kind is not ProblemKind.PORTABILITY}",
        " for kind in ProblemKind}",
        "cli/test_commands.py::test_what_is_chosen_is_moved",
    ),
    "branches-moved": Fault(
        "storage/tree",
        'if directory == str(self.base) else {".git"}',
        "if directory == str(self.base) else set()",
        "maintenance/test_check.py::test_git_directories_are_skipped",
    ),
    "moved-without-lock": Fault(
        "documents",
        "[path.parent, path] if moved.is_dir() and not moved.is_symlink() else [path.parent]",
        "[path.parent]",
        "maintenance/test_quarantine.py::test_a_category_is_moved_under_its_own_lock",
    ),
    "strangers-file": Fault(
        "maintenance/quarantine",
        "        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT}:\n",
        "        if True:\n",
        "maintenance/test_quarantine.py::test_restore_leaves_foreign_files_in_the_entry",
    ),
    "nowhere-unfound": Fault(
        "maintenance/check",
        "    elif os.path.isdir(path) or _is_in_the_way(tree, path):\n",
        "    elif os.path.isdir(path):\n",
        "maintenance/test_check.py::test_each_problem_has_its_kind_path_and_reason",
    ),
    "probe-hides-files": Fault(
        "maintenance/probe",
        '            return [Finding("directory"',
        '            raise\n            return [Finding("directory"',
        "maintenance/test_probe.py::test_check_reports_an_unwritable_directory_beside_corrupt_files",
    ),
    "probe-stays": Fault(
        "maintenance/scratch",
        "            if _is_old(other):\n",
        "            if False:\n",
        "maintenance/test_probe.py::test_directories_of_killed_probes_are_removed_after_an_hour",
    ),
    "script-killed-alone": Fault(
        "maintenance/probe_process",
        '_END = getattr(os, "killpg", os.kill)',
        "_END = os.kill",
        "maintenance/test_probe.py::test_the_interpreter_may_be_a_script_that_starts_python",
    ),
    "holds-itself-twice": Fault(
        "model/values",
        "        if len(level) > _MANY:",
        "        if False:",
        "codec/test_refusals.py::test_what_holds_itself_many_times_is_refused_by_the_converter_at_once",
    ),
}


def source_with(fault: Fault) -> str:
    """Give the module's source with the fault in it."""
    source = (PROJECT / f"oxios_state/{fault.module}.py").read_text(encoding="utf-8")
    if source.count(fault.old) != 1:
        raise ValueError(f"{fault.module}.py has changed: there is no one place for {fault.old!r}")
    return source.replace(fault.old, fault.new)


def run(tests: list[str], fault: Fault | None) -> tuple[bool, str]:
    """Run tests on a copy of the library, with a fault in it or none; say whether they pass, and what they print."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)  # some tests become another user
        copy = Path(directory, "oxios_state")
        shutil.copytree(PROJECT / "oxios_state", copy, ignore=shutil.ignore_patterns("__pycache__"))
        if fault is not None:
            (copy / f"{fault.module}.py").write_text(source_with(fault), encoding="utf-8")
        # Without the safe path, `-m` would put the checkout before the copy.
        environment = {**os.environ, "PYTHONPATH": directory, "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=short", "-p", "no:cacheprovider"]
        try:
            done = subprocess.run(
                [*command, *(str(PROJECT / "tests" / test) for test in tests)],
                cwd=PROJECT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=LONGEST * (1 if fault else len(tests)),
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False, "it hangs"
        return done.returncode == 0, done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description="Put back faults that the library once had, and see them again.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="some of them; all, if there are none")
    chosen = parser.parse_args().names
    if unknown := set(chosen) - FAULTS.keys():
        parser.error(f"there is no fault of the name {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}")
    names = chosen or list(FAULTS)
    passed, printed = run(sorted({FAULTS[name].test for name in names}), None)
    if not passed:
        print(f"{printed}\nThe tests fail without a fault: they would tell nothing.")
        return 1
    missed = 0
    for name in names:
        passed, printed = run([FAULTS[name].test], FAULTS[name])
        missed += passed
        if chosen:
            print(printed)
        print(f"{name:24} {'NOT SEEN' if passed else 'seen again'}  {FAULTS[name].test}", flush=True)
    print(f"{len(names) - missed} of {len(names)} faults are seen again")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
