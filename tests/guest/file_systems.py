"""The findings of the probe on real file systems, and names that one of them does not tell apart: nothing is lost.

    python tests/guest/file_systems.py

A guest (see `machine`) mounts each in turn (see `directories`). The exit status is 1 if a finding is not as is known of
the file system, or something is lost by the name of another.
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
SIZE = 320  # MB; xfs takes 300 at least
SLOW = 120.0  # seconds
WORDS = {True: "yes", False: "no", None: "note"}
# The answers other than "yes".
KNOWN = {
    "vfat": {"names": "no", "file modes": "no", "hard links": "note", "file times": "note"},
    "tmpfs": {"sync": "no"},
}
# The results of operations on vfat with the name `foo` where there is `Foo`, and so on.
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
    """Mount all file systems in a guest, and return its lines."""
    with tempfile.TemporaryDirectory(prefix="file-systems-", dir=MEMORY) as directory:
        on_disk = [kind for kind in FILE_SYSTEMS if kind != "tmpfs"]
        disks = [make_disk(Path(directory, kind), SIZE) for kind in on_disk]
        devices = {kind: f"/dev/ubd{'abcdefgh'[number]}" for number, kind in enumerate(on_disk)}
        arguments = [f"{kind}={devices.get(kind, '')}" for kind in FILE_SYSTEMS]
        with Guest(root, "directories", *arguments, disks=disks) as guest:
            return list(map(json.loads, guest.finish(SLOW)))


def table(findings: list[dict[str, Any]]) -> Iterable[str]:
    """Return the findings as lines: a row for each, a column for each file system."""
    words = {(told["what"], told["file_system"]): WORDS[told["holds"]] for told in findings}
    yield " ".join([f"{'':26}", *(f"{kind:6}" for kind in FILE_SYSTEMS)])
    for what in dict.fromkeys(told["what"] for told in findings):
        yield " ".join([f"{what:26}", *(f"{words.get((what, kind), '?'):6}" for kind in FILE_SYSTEMS)]).rstrip()


def faults(told: list[dict[str, Any]]) -> Iterable[str]:
    """Yield the deviations from what is known of each file system."""
    for kind in FILE_SYSTEMS:
        found = {line["what"]: WORDS[line["holds"]] for line in told if line["file_system"] == kind and "what" in line}
        other = {what: word for what, word in found.items() if word != "yes"}
        if not found or other != KNOWN.get(kind, {}):
            yield f"{kind}: found {other}, known {KNOWN.get(kind, {})}"
    for line in told:
        if "left" in line and line["left"] != [".oxios_state", ".oxios_state/.gitignore"]:
            yield f"{line['file_system']}: the probe left {line['left']}"
    done = {line["did"]: line for line in told if "did" in line}
    if done.keys() != ENDS.keys():
        yield f"tried {sorted(done)}"
    for did, line in done.items():
        if line["lost"] or not line["gave"].startswith(ENDS[did]):
            yield f"vfat: {did} gave {line['gave']}, and lost {line['lost']}"


def main() -> int:
    try:
        told = boot(prepare())
    except CannotRunError as error:
        print(f"skipped: {error}")
        return 0
    except GuestError as error:
        print(f"FAILED: {error}")
        return 1
    findings = [line for line in told if "what" in line]
    print("\n".join(table(findings)))
    for line in findings:
        if line["holds"] is not True:
            print(f"{line['file_system']}: {line['what']}: {WORDS[line['holds']]}, {line['detail']}")
    for line in told:
        if "did" in line:
            print(f"{line['file_system']}: {line['did']}: {line['gave']}")
    found = list(faults(told))
    print("\n".join(f"FAILED: {fault}" for fault in found) or "all as known, and nothing lost")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
