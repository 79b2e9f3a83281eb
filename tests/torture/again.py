"""Former faults of the library, put back one at a time: the test that guards against each must fail.

    python tests/torture/again.py            all of them, some minutes
    python tests/torture/again.py NAME...    these, and the output of their tests

docs/explanation/track-record.md describes each: its symptom, how it was found, and where it came from. A fault is put
into a copy of the library, so the checkout stays as it is. The tests run without a fault first, and must pass.
tests/test_documentation.py checks that each fault still has exactly one place in the source.
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
TIMEOUT = 100  # seconds; some faults make a test hang, which mostly fails by itself after 60


class Fault(NamedTuple):
    module: str
    old: str
    new: str
    test: str  # fails with the fault; below tests/


FAULTS = {
    # Reading and writing
    "missing-keys-invented": Fault(
        "codec/documents",
        "    required = known - OPTIONAL_KEYS\n",
        "    required: set[str] = set()\n",
        "codec/test_documents.py::test_a_missing_key_is_corrupt",
    ),
    "coerced": Fault(
        "codec/converter",
        "            if expected == value and type(expected) is type(value):\n",
        "            if expected == value:\n",
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
        "    conv = make_converter()\n    conv.register_unstructure_hook(Session",
        "    conv = converter()\n    conv.register_unstructure_hook(Session",
        "codec/test_documents.py::test_a_users_hook_does_not_change_the_kernels_documents",
    ),
    "subclass-cut": Fault(
        "sessions/repository",
        "        if type(session) is not Session:",
        "        if not isinstance(session, Session):",
        "guarantees/test_races.py::test_saving_refuses_subclasses_of_sessions_and_records",
    ),
    "endless-error": Fault(
        "codec/converter",
        "MAX_FAULTS = 20\n",
        "MAX_FAULTS = 10**9\n",
        "codec/test_refusals.py::test_an_error_names_twenty_faults_at_most",
    ),
    "callers-stack": Fault(
        "codec/json_text",
        "        if not _brackets_exceed(text, MAX_DEPTH):\n",
        "        if False:\n",
        "codec/test_refusals.py::test_a_deep_stack_is_not_mistaken_for_a_deep_document",
    ),
    "engines-differ": Fault(
        "codec/documents",
        "        if depth_exceeds(value, _SAME_ERROR_DEPTH):\n",
        "        if False:\n",
        "codec/test_refusals.py::test_a_session_that_is_nested_far_too_deep_is_refused_in_the_same_words",
    ),
    "frozen-for-ever": Fault(
        "model/immutable",
        " or id(value) in around:",
        ":",
        "model/test_immutable.py::test_saving_rejects_a_self_referencing_value",
    ),
    # Directories
    "directory-leaks": Fault(
        "storage/reads",
        "            if not stat.S_ISREG(status.st_mode):\n",
        "            if not stat.S_ISREG(status.st_mode):\n                os.dup(descriptor)\n",
        "guarantees/test_file_kinds.py::test_reading_a_special_file_neither_hangs_nor_leaks_and_names_it",
    ),
    "pipe-hangs": Fault(
        "storage/atomic_write",
        "        descriptor = system.open_file(path, os.O_RDWR | flags)",
        "        descriptor = os.open(path, os.O_WRONLY | flags & ~os.O_NONBLOCK)",
        "guarantees/test_file_kinds.py::test_special_files_named_like_temporary_files_do_not_disturb_a_prune",
    ),
    "circle-of-links": Fault(
        "storage/tree",
        "        except (InvalidNameError, OSError):  # OSError: links",
        "        except InvalidNameError:  # OSError: links",
        "guarantees/test_file_kinds.py::test_special_files_disturb_neither_listing_nor_saving",
    ),
    "listed-not-loaded": Fault(
        "storage/tree",
        "            self._tree.refuse_link_outside(Path(entry))\n",
        "",
        "guarantees/test_file_kinds.py::test_a_document_that_is_a_link_outside_is_not_listed",
    ),
    "restored-outside": Fault(
        "storage/tree",
        '        if self.base not in path.parents or ".." in parts or parts[0] == OWN_PREFIX:\n',
        "        if False:\n",
        "guarantees/test_hostile_names.py::test_restoring_to_a_place_outside_the_base_is_refused",
    ),
    "name-not-utf8": Fault(
        "maintenance/quarantine",
        'quote_from_bytes(os.fsencode(os.path.relpath(path, self._tree.base)), safe="/ ")',
        "os.path.relpath(path, self._tree.base)",
        "maintenance/test_quarantine.py::test_a_name_that_is_not_utf8_can_be_quarantined_and_restored",
    ),
    # Power cuts, failing system calls, killed writers
    "anothers-directory": Fault(
        "storage/tree",
        "        while not directory.is_dir() or (\n"
        "            self.durable and self.base in directory.parents and directory not in self._synced\n"
        "        ):\n",
        "        while not directory.is_dir():\n",
        "storage/test_durability.py::test_a_directory_created_by_another_is_synced_once",
    ),
    "unsynced-directory": Fault(
        "storage/tree",
        "                    if created:\n",
        "                    if False:\n",
        "storage/test_durability.py::test_a_base_whose_sync_failed_is_synced_by_the_next_store",
    ),
    "gitignore-torn": Fault(
        "storage/tree",
        '                if content != b"*\\n" and len(content) < _BEGINNING and not content.strip(b"*\\n\\0"):\n',
        "                if not ignore.exists():\n",
        "storage/test_tree.py::test_git_ignores_the_own_directory_unless_the_user_says_otherwise",
    ),
    "own-litter": Fault(
        "storage/atomic_write",
        '    for name in ("cache", "quarantine"):\n',
        "    for name in ():\n",
        "storage/test_orphans.py::test_the_own_directories_are_swept_too",
    ),
    "unlock-hides": Fault(
        "storage/locks",
        "    with suppress(OSError):  # closing",
        "    if True:  # closing",
        "storage/test_process_locks.py::test_a_failing_unlock_raises_nothing_and_leaves_the_lock_free",
    ),
    "never-locked": Fault(
        "storage/atomic_write",
        "        for _ in range(_CREATE_TRIES):\n",
        "        while True:\n",
        "guarantees/test_races.py::test_a_system_that_refuses_to_lock_a_temporary_file_is_an_error",
    ),
    "taken-for-missing": Fault(
        "storage/reads",
        "    except (FileNotFoundError, NotADirectoryError):\n        return nfs.is_listed(path)\n    return True",
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
        "maintenance/quarantine",
        "        if reads.is_file(path) and (raw := reads.read(path, limit)) is not None:\n",
        "        try:\n"
        "            raw = reads.read(path, limit)\n"
        "        except PermissionError:\n"
        "            return None\n"
        "        if raw is not None:\n",
        "maintenance/test_quarantine.py::test_an_unreadable_document_is_not_replaced",
    ),
    "replaced-without-copy": Fault(
        "storage/reads",
        "        if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:\n            raise\n",
        "",
        "maintenance/test_quarantine.py::test_a_document_is_not_replaced_if_its_status_is_unknown",
    ),
    # Concurrent operations
    "archived-into-itself": Fault(
        "sessions/pruning",
        "            if self._tree.real_category(archive) == self._tree.real_category(SESSIONS):\n",
        "            if archive == SESSIONS:\n",
        "guarantees/test_races.py::test_an_archive_that_is_the_sessions_by_another_name_is_refused",
    ),
    "archived-fresh": Fault(
        "storage/tree",
        "            if linked and os.path.samefile(path, target):\n",
        "            if linked:\n",
        "guarantees/test_races.py::test_a_save_by_the_kernel_during_archiving_stays",
    ),
    "created-over": Fault(
        "sessions/repository",
        "                        self.update(session)\n",
        "                        self.save(session)\n",
        "guarantees/test_races.py::test_get_or_create_does_not_overwrite_a_session_that_the_kernel_created_meanwhile",
    ),
    "misnamed-lost": Fault(
        "sessions/repository",
        "            decode=decode_named,\n",
        "            decode=incremental.decode_session,\n",
        "maintenance/test_quarantine.py::test_a_save_copies_a_session_of_another_id_to_quarantine",
    ),
    "prune-of-nothing": Fault(
        "storage/tree",
        "        except OSError:\n            return False\n        return True\n",
        "        except PermissionError:\n            return False\n        return True\n",
        "sessions/test_pruning.py::test_sessions_whose_directory_was_deleted_are_not_removed",
    ),
    "handler-in-lock": Fault(
        "storage/locks",
        "        if not lock.depth:  # in a signal handler",
        "        if False:  # in a signal handler",
        "guarantees/test_races.py::test_a_signal_handler_does_not_enter_a_lock_that_its_thread_is_taking",
    ),
    "dead-threads-lock": Fault(
        "storage/locks",
        "        token: object = _threads.token\n    except",
        "        token: object = __import__('sys').intern(str(threading.get_ident()))\n    except",
        "guarantees/test_races.py::test_a_new_thread_does_not_inherit_the_lock_of_a_dead_one",
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
        "storage/test_locks.py::test_an_interrupt_while_joining_the_queue_leaves_no_place_behind",
    ),
    # Caches in memory and the index of summaries
    "emptied-file": Fault(
        "model/revision",
        'self.digest if self.identity is None else b""',
        "self.digest if self.identity is None else None",
        "storage/test_revisions.py::test_a_file_that_an_editor_has_just_emptied_is_not_pruned",
    ),
    "same-mark": Fault(
        "storage/revisions",
        "    below = _RESOLUTION + token % (_MICROSECOND - _RESOLUTION)\n",
        "    below = 0\n",
        "storage/test_revisions.py::test_a_mark_does_not_survive_coarse_timestamps",
    ),
    "kept-as-changed": Fault(
        "sessions/repository",
        "            kept = image if",
        "            kept = copy_of(session, freeze) if",
        "sessions/test_cache.py::test_a_change_during_a_save_is_not_taken_for_saved",
    ),
    "childs-wait": Fault(
        "sessions/cache",
        "        forks.reset_in_children(self, SessionCache._reset)\n",
        "",
        "sessions/test_cache.py::test_a_forked_child_does_not_wait_for_a_thread_of_its_parent",
    ),
    "handlers-wait": Fault(
        "sessions/cache",
        "threading.RLock()  # re-entrant",
        "threading.Lock()  # re-entrant",
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
        "    return _OVERHEAD + (text.memory if isinstance(text, SessionText) else sum(map(memory_of, text)))\n",
        "    return 5 * sum(map(len, text))\n",
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
        "lambda value, _: _structure_and_read(value, cls)",
        "lambda value, _: _kernel_converter().structure(value, cls)",
        "model/test_records.py::test_a_structured_session_does_not_depend_on_its_document",
    ),
    "listing-makes": Fault(
        "sessions/index",
        "            if not self._may_write():",
        "            if False:",
        "sessions/test_index_file.py::test_listing_creates_no_base_directory",
    ),
    "rows-of-anything": Fault(
        "sessions/index",
        "        _check(list(zip(*rows, strict=True)))\n",
        "        pass\n",
        "sessions/test_index_file.py::test_a_bad_row_invalidates_the_file",
    ),
    "deep-cache": Fault(
        "sessions/index",
        "TypeError, RecursionError)",
        "TypeError)",
        "sessions/test_index_file.py::test_a_file_that_is_not_a_cache_is_ignored",
    ),
    "anothers-list": Fault(
        "sessions/index",
        "            if self._keepers[0] is keeper and self._latest is latest:\n",
        "            if self._last and self._latest is not latest:\n"
        "                listing = listing._replace(entries=self._last.entries)\n"
        "            if True:\n",
        "sessions/test_index.py::test_a_list_is_not_mixed_with_one_that_began_earlier",
    ),
    "title-outlives": Fault(
        "sessions/index",
        ".keys() <= entries.keys():  # a title",
        ".keys() is not None:  # a title",
        "sessions/test_index.py::test_the_cache_file_drops_the_title_of_a_deleted_session",
    ),
    # Network file systems
    "stale-name": Fault(
        "storage/reads",
        "    for _ in range(_TRIES - 1):\n",
        "    for _ in range(0):\n",
        "storage/test_nfs.py::test_a_stale_file_is_opened_again",
    ),
    "shared-delegation": Fault(
        "storage/nfs",
        "    if is_on_nfs(directory):\n        listing(directory)\n",
        "",
        "storage/test_nfs.py::test_taking_a_lock_on_nfs_lists_the_directory_once",
    ),
    "taken-for-absent": Fault(
        "storage/nfs",
        "                return True\n    return False\n",
        "                return False\n    return False\n",
        "storage/test_nfs.py::test_a_file_that_nfs_lists_but_does_not_find_exists",
    ),
    # Real disks, threads without the GIL, and mutation testing
    "restored-comes-back": Fault(
        "maintenance/quarantine",
        '            self._tree.sync(entry.content.parents[1], f"{entry.path.name} is restored")\n',
        "",
        "storage/test_durability.py::test_a_removal_is_synced_and_a_move_is_synced_at_its_target_first",
    ),
    "anothers-name": Fault(
        "documents",
        "                self.locks.refuse_alias(path)\n",
        "",
        "storage/test_aliases.py::test_a_change_through_an_alias_is_refused",
    ),
    "two-converters": Fault(
        "codec/documents",
        "    return _converters[0]\n",
        "    return _converters[-1]\n",
        "guarantees/test_first_use.py::test_threads_that_first_need_the_converter_get_the_same_one",
    ),
    "throttle-held": Fault(
        "sessions/retention",
        "        forks.reset_in_children(self, PruneThrottle._reset)\n",
        "",
        "guarantees/test_forks.py::test_a_child_can_use_a_throttle_that_a_thread_of_its_parent_was_using",
    ),
    "imports-deadlock": Fault(
        "codec/json_text",
        "from json import JSONDecodeError, JSONDecoder, detect_encoding, encoder\n",
        "from json.encoder import encode_basestring\n"
        "from json import JSONDecodeError, JSONDecoder, detect_encoding\n"
        "encoder = __import__('types').SimpleNamespace(encode_basestring=encode_basestring)\n",
        "guarantees/test_first_use.py::test_a_first_save_while_another_thread_imports_json_does_not_deadlock",
    ),
    "title-of-another-list": Fault(
        "sessions/index",
        "            if self._keepers[0] is keeper and self._latest is latest:\n",
        "            if True:\n",
        "sessions/test_index.py::test_the_cache_file_drops_the_title_of_a_deleted_session_when_threads_list",
    ),
    "id-left-as-it-is": Fault(
        "codec/documents",
        "    conv.register_unstructure_hook(SessionId, str)\n",
        "",
        "codec/test_documents.py::test_the_converter_unstructures_a_session_id_as_a_plain_string",
    ),
    "other-lock-named": Fault(
        "storage/locks",
        '_wait_for_file(descriptor, f"{stem}.lock", deadline)',
        '_wait_for_file(descriptor, f"{stem}.turn", deadline)',
        "storage/test_process_locks.py::test_a_failing_lock_call_names_the_lock_file",
    ),
    # A second review, and NFS clients that take turns
    "same-tick": Fault(
        "storage/nfs",
        "    if not is_on_nfs(directory):\n        return\n",
        "    return\n",
        "storage/test_nfs.py::test_releasing_a_lock_on_nfs_moves_the_time_of_the_directory",
    ),
    "category-absent": Fault(
        "storage/tree",
        "        nfs.revalidate(self.path)\n"
        "        try:\n"
        "            with os.scandir(self.path) as entries:\n"
        "                return",
        "        try:\n            with os.scandir(self.path) as entries:\n                return",
        "storage/test_nfs.py::test_a_missing_category_is_revalidated_from_its_nearest_parent",
    ),
    "listed-and-absent": Fault(
        "storage/reads",
        "            time.sleep(_PAUSE)\n",
        "",
        "storage/test_nfs.py::test_a_file_that_nfs_lists_but_does_not_find_is_waited_for",
    ),
    "device-again": Fault(
        "storage/nfs",
        "    key = status.st_dev, status.st_ino\n",
        "    key = status.st_dev, 0\n",
        "storage/test_nfs.py::test_a_reused_device_number_is_looked_up_again",
    ),
    "mounts-forbidden": Fault(
        "storage/nfs",
        "    except OSError:  # the table",
        "    except FileNotFoundError:  # the table",
        "storage/test_nfs.py::test_without_a_table_of_mounts_there_is_no_mount",
    ),
    "deep-and-absent": Fault(
        "storage/nfs",
        "                directory = directory.parent\n                continue\n",
        "                revalidate(directory.parent)\n",
        "storage/test_locks.py::test_each_category_has_its_own_lock_whatever_its_name",
    ),
    "links-deadlock": Fault(
        "storage/locks",
        "sorted(set(categories), key=self._tree.real_category)",
        "sorted(set(categories))",
        "sessions/test_pruning.py::test_two_locks_are_taken_in_the_order_of_the_real_directories",
    ),
    "prune-cut-short": Fault(
        "sessions/pruning",
        "        finally:  # also after",
        "        else:  # also after",
        "sessions/test_pruning.py::test_an_interrupted_prune_syncs_what_it_removed",
    ),
    "copies-of-nothing": Fault(
        "maintenance/quarantine",
        "                elif reads.read(path, self._tree.max_file_bytes) == content:",
        "                elif False:",
        "maintenance/test_quarantine.py::test_a_failed_save_over_a_corrupt_document_leaves_no_copy",
    ),
    "locked-out-by-root": Fault(
        "sessions/index",
        "            if not self._may_write():\n",
        "            if not os.path.isdir(self._tree.base):\n",
        "sessions/test_index_file.py::test_root_writes_no_file_into_another_users_store",
    ),
    "no-links-enosys": Fault(
        "storage/tree",
        "        if error.errno in _NO_LINKS:\n",
        "        if error.errno in {errno.EPERM, errno.EACCES}:\n",
        "storage/test_tree.py::test_a_move_never_replaces_another_file",
    ),
    "no-locks-unsaid": Fault(
        "storage/atomic_write",
        "locks.try_lock(self._descriptor, temporary)",
        "locks.lock_descriptor(self._descriptor, blocking=False)",
        "storage/test_process_locks.py::test_a_file_system_without_locks_is_a_clear_error",
    ),
    "pipe-ignored": Fault(
        "storage/tree",
        "open(system.open_file(ignore, flags, 0o600), ",
        "open(os.open(ignore, flags, 0o600), ",
        "storage/test_tree.py::test_a_pipe_in_place_of_the_gitignore_does_not_hang",
    ),
    "names-beyond-ascii": Fault(
        "storage/names",
        "        os.fsencode(component)\n",
        "        pass\n",
        "storage/test_names.py::test_names_beyond_the_encoding_of_file_names_are_refused",
    ),
    "sound-names-moved": Fault(
        "cli/commands",
        " for kind in ProblemKind if kind is not ProblemKind.PORTABILITY}",
        " for kind in ProblemKind}",
        "cli/test_commands.py::test_quarantine_moves_the_selected_files",
    ),
    "branches-moved": Fault(
        "storage/tree",
        'if directory == str(self.base) else {".git"}',
        "if directory == str(self.base) else set()",
        "maintenance/test_check.py::test_git_directories_are_skipped",
    ),
    "moved-without-lock": Fault(
        "storage/locks",
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
        "    elif os.path.isdir(path) or _occupies_category(tree, path):\n",
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
        "maintenance/probe",
        "            if _is_stale(other):\n",
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
        "codec/test_refusals.py::test_the_converter_refuses_a_self_referencing_document_at_once",
    ),
}


def source_with(fault: Fault) -> str:
    """Return the module's source with the fault in it."""
    source = (PROJECT / f"oxios_state/{fault.module}.py").read_text(encoding="utf-8")
    if source.count(fault.old) != 1:
        raise ValueError(f"{fault.module}.py has changed: there is no one place for {fault.old!r}")
    return source.replace(fault.old, fault.new)


def run(tests: list[str], fault: Fault | None) -> tuple[bool, str]:
    """Run tests on a copy of the library, with or without a fault; return whether they pass, and their output."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)  # some tests become another user
        copy = Path(directory, "oxios_state")
        shutil.copytree(PROJECT / "oxios_state", copy, ignore=shutil.ignore_patterns("__pycache__"))
        if fault is not None:
            (copy / f"{fault.module}.py").write_text(source_with(fault), encoding="utf-8")
        # Without the safe path, `-m` would import the checkout instead of the copy.
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
                timeout=TIMEOUT * (1 if fault else len(tests)),
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False, "it hangs"
        return done.returncode == 0, done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Put back faults that the library once had, and see that tests find them."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a fault; by default all")
    chosen = parser.parse_args().names
    if unknown := set(chosen) - FAULTS.keys():
        parser.error(f"there is no fault of the name {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}")
    names = chosen or list(FAULTS)
    passed, printed = run(sorted({FAULTS[name].test for name in names}), None)
    if not passed:
        print(f"{printed}\nThe tests fail without a fault, so they would prove nothing.")
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
