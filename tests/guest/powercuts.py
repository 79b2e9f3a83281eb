"""Cut the power of a machine that saves, at random moments, and look at what its disk kept.

    python tests/guest/powercuts.py [--cuts N] [--file-system ext4 ...] [--store durable ...] [--seed N]

A guest (see `machine`) saves and acknowledges in a loop (see `saver`) on an image with one of the file systems, until
its processes are killed: its page cache is gone. The next boot recovers the file system, opens the store, tells what is
there, and goes on saving until the next cut: one image lives through all of them.

With the store as it is (`durable`), each document must be what was acknowledged last, or what was begun after that.
Some boots are cut too while they recover and look. The same with a store whose fsync does nothing (`no-fsync`) must be
found to lose something. Of the others nothing is promised: `not-durable` is `StateStore(durable=False)`, saving over
documents that the disk has, and `no-directory-sync` syncs files and not their names. What is "new" in the table came
after the boot. A seed chooses the changes and the moments, but no run is the same again.

The exit status is 1 if a promise is broken, or the fault is not found.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from ledger import Ledger, Loss, count
from machine import MEMORY, PLACE, CannotRunError, Guest, GuestError, make_disk, prepare

FILE_SYSTEMS = {
    "ext4": ("ext4", "rw"),
    "ext4-noauto_da_alloc": ("ext4", "noauto_da_alloc"),
    "xfs": ("xfs", "rw"),
    "btrfs": ("btrfs", "rw"),
}
STORES = ("durable", "no-fsync", "not-durable", "no-directory-sync")
SIZE = 512  # MB; xfs takes 300 at least
SLOW = 120.0  # seconds: a boot, or looking at the store, that takes longer has failed


class Result(NamedTuple):
    """The result of one image."""

    file_system: str
    store: str
    cuts: int
    acknowledged: int
    hit: int  # cuts with a loss
    losses: list[Loss]

    def broken(self) -> list[Loss]:
        """Return the forbidden losses: none of stores that promise nothing."""
        return self.losses if self.store == "durable" else []

    def row(self) -> str:
        """Return a line of the table."""
        torn = sum(loss.kind.startswith("torn") for loss in self.losses)
        numbers = f"{self.cuts:5} {self.acknowledged:13} {self.hit:10} {len(self.losses):6} {torn:6}"
        return f"{self.file_system:21} {self.store:12} {numbers}   {count(self.losses)}"


def run(root: Path, file_system: str, store: str, cuts: int, seed: int) -> Result:
    """Cut the power of one image some times, with a look at it after each."""
    kind, options = FILE_SYSTEMS[file_system]
    ledger, result = Ledger(), Result(file_system, store, cuts, 0, 0, [])
    with tempfile.TemporaryDirectory(prefix="powercuts-", dir=MEMORY) as name:
        disk, before = make_disk(Path(name, "disk.img"), SIZE), Path(name, "before.img")
        for boot in range(cuts + 1):
            chance = random.Random(f"{seed} {file_system} {boot}")
            stage = "new" if boot == 0 else "last" if boot == cuts else "on"
            mount = f"{options},commit=1" if chance.random() < 0.5 else options  # or five seconds, or thirty
            _copy(disk, before)
            if boot and chance.random() < 0.2:  # a cut during recovery, or soon after
                with Guest(root, "saver", kind, mount, store, "-", "last", disks=[disk]) as guest:
                    time.sleep(chance.uniform(0, 1))
            with Guest(root, "saver", kind, mount, store, f"{seed}-{boot}", stage, disks=[disk]) as guest:
                _listen(guest, ledger, "saving", "verified")
                found = list(ledger.judge())
                if stage == "last":
                    guest.finish(SLOW)
                else:
                    _listen(guest, ledger, "begun")
                    for line in guest.lines(_moment(chance)):
                        ledger.hear(line)
                    guest.cut()
                    for line in guest.lines(SLOW):
                        ledger.hear(line)
            hit, losses = result.hit + bool(found), [*result.losses, *found]
            result = result._replace(acknowledged=ledger.acknowledged, hit=hit, losses=losses)
            if broken := [loss for loss in found if loss in result.broken()]:
                _report(before, broken, f"{file_system}, {store}, cut {boot}, seed {seed}")
    return result


def _moment(chance: random.Random) -> float:
    """Choose for how long the guest saves: often shortly, at times beyond a commit of the journal."""
    return chance.uniform(0.2, 3) if chance.random() < 0.8 else chance.uniform(3, 8)


def _listen(guest: Guest, ledger: Ledger, *ends: str) -> None:
    """Hear what the guest tells, until it comes to something."""
    for line in guest.lines(SLOW):
        if line in ends:
            return
        ledger.hear(line)
    raise guest.failed(f"did not come to {' or '.join(ends)}")


def _copy(disk: Path, copy: Path) -> None:
    subprocess.run(["cp", "--sparse=always", str(disk), str(copy)], check=True)


def _report(image: Path, broken: list[Loss], where: str) -> None:
    kept = PLACE / "kept"
    kept.mkdir(exist_ok=True)
    _copy(image, target := kept / f"{where.replace(', ', '-').replace(' ', '-')}.img")
    print(f"BROKEN: {where}; the disk as the cut left it: {target}")
    for loss in broken[:20]:
        print(f"    {loss}")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description="Cut the power of a machine that saves, and look at its disk.")
    parser.add_argument("--cuts", type=int, default=3, help="of each file system; a fifth of it of a faulty store")
    parser.add_argument("--file-system", nargs="+", choices=FILE_SYSTEMS, default=list(FILE_SYSTEMS))
    parser.add_argument("--store", nargs="+", choices=STORES, default=list(STORES[:2]))
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    try:
        root = prepare()
    except CannotRunError as error:
        print(f"skipped: {error}")
        return 0
    print(f"--seed {options.seed}")
    print(f"{'file system':21} {'store':12}  cuts  acknowledged  cuts lost   lost   torn   what")
    results, failed = [], 0
    for store in options.store:
        for file_system in options.file_system:
            cuts = options.cuts if store == "durable" else max(1, options.cuts // 5)
            try:
                results.append(run(root, file_system, store, cuts, options.seed))
                print(results[-1].row(), flush=True)
            except (CannotRunError, GuestError) as error:
                failed += 1
                print(f"FAILED: {file_system}, {store}, --seed {options.seed}: {error}", flush=True)
    broken = sum(len(result.broken()) for result in results)
    faulty = [result for result in results if result.store == "no-fsync"]
    unnoticed = bool(faulty) and not any(result.losses for result in faulty)
    print(f"{sum(result.cuts for result in results)} cuts; {broken} losses that must not be; {failed} guests failed")
    if unnoticed:
        print("FAILED: nothing was lost without fsync, so this would notice nothing")
    return 1 if broken or failed or unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
