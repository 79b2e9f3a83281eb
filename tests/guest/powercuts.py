"""Cut the power of a saving machine at random moments, and compare its disk with what it acknowledged.

    python tests/guest/powercuts.py [--cuts N] [--file-system ext4 ...] [--store durable ...] [--seed N]

A guest (see `machine`) saves and acknowledges in a loop (see `saver`), on an image with one of the file systems, until
its processes are killed: its page cache is lost. The next boot recovers the file system, opens the store, reports its
documents, and goes on saving until the next cut: one image lives through all cuts.

With the store as it is (`durable`), each document must be in the state acknowledged last, or in one begun after that.
Some boots are cut as well while they recover and report. The same with a store whose fsync does nothing (`no-fsync`)
must lose something. The other stores promise nothing: `not-durable` is `StateStore(durable=False)`, saving over
documents on the disk, and `no-directory-sync` syncs files but not their names. Losses marked "new" in the table are of
documents made after the boot. A seed chooses the changes and the moments, but no two runs are the same.

The exit status is 1 if a promise is broken, or if `no-fsync` loses nothing.
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
SIZE = 512  # MB; xfs needs at least 300
SLOW = 120.0  # seconds: a boot, or a check of the store, that takes longer has failed


class Result(NamedTuple):
    """The outcome for one image."""

    file_system: str
    store: str
    cuts: int
    acknowledged: int
    hit: int  # cuts with a loss
    losses: list[Loss]

    def broken(self) -> list[Loss]:
        """Return the losses that break a promise: only the durable store makes any."""
        return self.losses if self.store == "durable" else []

    def row(self) -> str:
        """Return the image's row of the table."""
        torn = sum(loss.kind.startswith("torn") for loss in self.losses)
        numbers = f"{self.cuts:5} {self.acknowledged:13} {self.hit:10} {len(self.losses):6} {torn:6}"
        return f"{self.file_system:21} {self.store:12} {numbers}   {count(self.losses)}"


def run(root: Path, file_system: str, store: str, cuts: int, seed: int) -> Result:
    """Cut the power of one image several times, and check its disk after each cut."""
    kind, options = FILE_SYSTEMS[file_system]
    ledger, result = Ledger(), Result(file_system, store, cuts, 0, 0, [])
    with tempfile.TemporaryDirectory(prefix="powercuts-", dir=MEMORY) as name:
        disk, before = make_disk(Path(name, "disk.img"), SIZE), Path(name, "before.img")
        for boot in range(cuts + 1):
            chance = random.Random(f"{seed} {file_system} {boot}")
            stage = "new" if boot == 0 else "last" if boot == cuts else "on"
            # By default, a commit comes every five or thirty seconds.
            mount = f"{options},commit=1" if chance.random() < 0.5 else options
            _copy(disk, before)
            if boot and chance.random() < 0.2:  # a cut during recovery, or soon after
                with Guest(root, "saver", kind, mount, store, "-", "last", disks=[disk]) as guest:
                    time.sleep(chance.uniform(0, 1))
            with Guest(root, "saver", kind, mount, store, f"{seed}-{boot}", stage, disks=[disk]) as guest:
                _listen(guest, ledger, "saving", "verified")
                new_losses = list(ledger.judge())
                if stage == "last":
                    guest.finish(SLOW)
                else:
                    _listen(guest, ledger, "begun")
                    for line in guest.lines(_moment(chance)):
                        ledger.hear(line)
                    guest.cut()
                    for line in guest.lines(SLOW):
                        ledger.hear(line)
            hit, losses = result.hit + bool(new_losses), [*result.losses, *new_losses]
            result = result._replace(acknowledged=ledger.acknowledged, hit=hit, losses=losses)
            if broken := [loss for loss in new_losses if loss in result.broken()]:
                _report(before, broken, f"{file_system}, {store}, cut {boot}, seed {seed}")
    return result


def _moment(chance: random.Random) -> float:
    """Choose how long the guest saves: mostly a short time, sometimes beyond a commit of the journal."""
    return chance.uniform(0.2, 3) if chance.random() < 0.8 else chance.uniform(3, 8)


def _listen(guest: Guest, ledger: Ledger, *ends: str) -> None:
    """Pass the guest's lines to the ledger until one of the *ends* comes."""
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
