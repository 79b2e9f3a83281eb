"""Run the probe on real file systems, and check that names which vfat takes for one lose no document there.

    python tests/guest/file_systems.py

A guest (see `machine`) mounts each file system in turn (see `directories`). The exit status is 1 if a finding differs
from what is known of the file system, or if a document is lost to another of a similar name.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from machine import MEMORY, CannotRunError, Guest, GuestError, make_disk, prepare

FILE_SYSTEMS = ("ext4", "xfs", "btrfs", "vfat", "tmpfs")
SIZE = 320  # MB; xfs needs at least 300
SLOW = 120.0  # seconds
WORDS = {True: "yes", False: "no", None: "note"}
# The findings that are not "yes".
KNOWN = {
    "vfat": {"names": "no", "file modes": "no", "hard links": "note", "file times": "note"},
    "tmpfs": {"sync": "no"},
}
# How each operation on vfat with the name `foo` ends while `Foo` exists, and so on.
REFUSED = "InvalidNameError: nothing is changed, the file system takes "
ENDS = {
    "load_session": "CorruptStateError: ",
    "get_or_create_session": "CorruptStateError: ",
    "edit_session": "CorruptStateError: ",
    "update_session": REFUSED,
    "save_session": REFUSED,
    "list_sessions": "['Foo']",
    "prune into Sessions": REFUSED,
    "delete_session": REFUSED,
    "load_json": "'kept'",
    "save_json": REFUSED,
    "save_json in C": REFUSED,
    "lock of C": REFUSED,
    "delete_file": REFUSED,
    "save_markdown short": REFUSED,
    "save_json decomposed": "None",
    "save_json in notes.": REFUSED,
    "save_json of Foo": "None",
    "edit_session of Foo": "None",
    "archive both": "['Foo', 'foo.2']",
    "restore": "FileExistsError: ",
}


def boot(root: Path) -> list[dict[str, Any]]:
    """Run a guest that mounts all file systems, and return its reports."""
    with tempfile.TemporaryDirectory(prefix="file-systems-", dir=MEMORY) as directory:
        on_disk = [kind for kind in FILE_SYSTEMS if kind != "tmpfs"]
        disks = [make_disk(Path(directory, kind), SIZE) for kind in on_disk]
        devices = {kind: f"/dev/ubd{'abcdefgh'[number]}" for number, kind in enumerate(on_disk)}
        arguments = [f"{kind}={devices.get(kind, '')}" for kind in FILE_SYSTEMS]
        with Guest(root, "directories", *arguments, disks=disks) as guest:
            return list(map(json.loads, guest.finish(SLOW)))


def table(findings: list[dict[str, Any]]) -> Iterable[str]:
    """Yield the findings as the lines of a table: a row for each finding, a column for each file system."""
    words = {(finding["what"], finding["file_system"]): WORDS[finding["holds"]] for finding in findings}
    yield " ".join([f"{'':26}", *(f"{kind:6}" for kind in FILE_SYSTEMS)])
    for what in dict.fromkeys(finding["what"] for finding in findings):
        yield " ".join([f"{what:26}", *(f"{words.get((what, kind), '?'):6}" for kind in FILE_SYSTEMS)]).rstrip()


def faults(reports: list[dict[str, Any]]) -> Iterable[str]:
    """Yield the differences from the known findings and outcomes."""
    for kind in FILE_SYSTEMS:
        own = [line for line in reports if line["file_system"] == kind]
        words = {line["what"]: WORDS[line["holds"]] for line in own if "what" in line}
        deviations = {what: word for what, word in words.items() if word != "yes"}
        if not words or deviations != KNOWN.get(kind, {}):
            yield f"{kind}: found {deviations}, known {KNOWN.get(kind, {})}"
    for line in reports:
        if "left" in line and line["left"] != [".oxios_state", ".oxios_state/.gitignore"]:
            yield f"{line['file_system']}: the probe left {line['left']}"
    outcomes = {line["did"]: line for line in reports if "did" in line}
    if outcomes.keys() != ENDS.keys():
        yield f"tried {sorted(outcomes)}"
    for action, line in outcomes.items():
        if line["lost"] or not line["gave"].startswith(ENDS[action]):
            yield f"vfat: {action} gave {line['gave']}, and lost {line['lost']}"


def main() -> int:
    try:
        reports = boot(prepare())
    except CannotRunError as error:
        print(f"skipped: {error}")
        return 0
    except GuestError as error:
        print(f"FAILED: {error}")
        return 1
    findings = [line for line in reports if "what" in line]
    print("\n".join(table(findings)))
    for line in findings:
        if line["holds"] is not True:
            print(f"{line['file_system']}: {line['what']}: {WORDS[line['holds']]}, {line['detail']}")
    for line in reports:
        if "did" in line:
            print(f"{line['file_system']}: {line['did']}: {line['gave']}")
    problems = list(faults(reports))
    print("\n".join(f"FAILED: {fault}" for fault in problems) or "all as known, and nothing lost")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
