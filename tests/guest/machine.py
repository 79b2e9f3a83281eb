"""A machine to be cruel to: Debian's user-mode-linux, a whole kernel as one process, with a directory as its root.

    python tests/guest/machine.py       prepares it, or says why this machine cannot

A guest program is a file of this directory that ends in `booted.run(main)`. It is the guest's first process.
"""

from __future__ import annotations

import fcntl
import os
import platform
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
PLACE = CHECKOUT / ".nox" / "guest"  # git ignores it
KERNEL = "linux.uml"
TOOLS = {KERNEL: "user-mode-linux", "mmdebstrap": "mmdebstrap"}  # programs, and Debian's packages
MODULES = Path("/usr/lib/uml/modules")
RELEASE = "bookworm"
PYTHON = "3.11"  # of that release
INCLUDED = (
    *("python3", "kmod", "mount", "util-linux", "procps", "iproute2"),
    *("e2fsprogs", "xfsprogs", "btrfs-progs", "dosfstools", "nfs-kernel-server", "nfs-common"),
)
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/tmp",
    "PYTHONPATH": "/opt/library",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}
MARK = ":: "  # begins a guest program's lines; the rest of the console is the kernel's, or a traceback
_SHARED = Path("/dev/shm")
MEMORY = _SHARED if _SHARED.is_dir() else Path(tempfile.gettempdir())  # a sync costs nothing there


class CannotRunError(Exception):
    """This machine cannot run a guest; says why."""


class GuestError(Exception):
    """A guest did not do what it should; with the end of its console."""


def missing() -> str | None:
    """Return why this machine cannot run a guest, None if it can. Missing tools are installed."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"Debian has user-mode-linux for Linux on x86-64 only, and this is {sys.platform} {platform.machine()}"
    if os.geteuid() != 0:
        return "only root can make a root directory for the guest"
    if any(character in str(PLACE) for character in " ,"):
        return f"a path with a space or a comma cannot be told to the guest's kernel: {PLACE}"
    packages = [package for program, package in TOOLS.items() if shutil.which(program) is None]
    if packages and shutil.which("apt-get") is None:
        return f"there is no {' and no '.join(packages)}, and no apt-get to install it"
    try:
        if packages:
            _do("apt-get", "update", "-q")
            _do("apt-get", "install", "-q", "-y", "--no-install-recommends", *packages)
    except CannotRunError as error:
        return str(error)
    return None if MODULES.is_dir() else f"there is no {MODULES}: this user-mode-linux is not Debian's"


def make_root(place: Path = PLACE) -> Path:
    """Make the guest's root directory unless it is there, put the library and the guest programs into it, and give it.

    Raises:
        CannotRunError: If it cannot be made, as where Debian's packages cannot be had.
    """
    place.mkdir(parents=True, exist_ok=True)
    root = place / "root"
    with open(place / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two sessions may begin at once
        recipe = f"{RELEASE} {' '.join(INCLUDED)} {' '.join(sorted(os.listdir(MODULES)))}\n"
        stamp = place / "made"  # written last: without it, the root is half-made, or made in another way
        if not stamp.is_file() or stamp.read_text() != recipe:
            stamp.unlink(missing_ok=True)
            shutil.rmtree(root, ignore_errors=True)
            _do("mmdebstrap", "-q", "--variant=minbase", f"--include={','.join(INCLUDED)}", RELEASE, str(root))
            shutil.copytree(MODULES, root / "usr/lib/modules", symlinks=True, dirs_exist_ok=True)
            stamp.write_text(recipe)
        _install(root, place / "wheels")
    return root


def _install(root: Path, wheels: Path) -> None:
    shutil.rmtree(wheels, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    _do(*pip, "wheel", "-q", "--no-deps", "-w", str(wheels), str(CHECKOUT))
    library, programs = root / "opt/library", root / "guest"
    for directory in (library, programs):
        shutil.rmtree(directory, ignore_errors=True)
    options = ["-q", "--root-user-action=ignore", "--no-compile", "--only-binary=:all:", f"--python-version={PYTHON}"]
    _do(*pip, "install", *options, "--target", str(library), *map(str, wheels.glob("*.whl")))
    shutil.copytree(HERE, programs, ignore=shutil.ignore_patterns("__pycache__"))
    # By the guest's own Python, which would else compile them at each boot: it cannot write there.
    _do("chroot", str(root), "python3", "-m", "compileall", "-q", "/opt/library", "/guest")


def _do(*command: str) -> None:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise CannotRunError(f"{' '.join(command)} failed: {said}")


def make_disk(path: Path, megabytes: int) -> Path:
    """Make a sparse image; a file system is made on it by the guest, which has the tools."""
    with open(path, "wb") as file:
        file.truncate(megabytes << 20)
    return path


class Guest:
    """A guest that runs one program; it is cut off, if it is still running, where the block ends.

    Args:
        root: What `make_root` gave. The guest sees it read-only.
        program: A guest program's name, without extension.
        arguments: What it is given; no spaces in them.
        disks: Images, which it has as /dev/ubda, /dev/ubdb and so on.
        memory: How much it has.

    Raises:
        CannotRunError: If it does not boot: some machines do not let a process trace another, which it is made of.
    """

    def __init__(
        self, root: Path, program: str, *arguments: str, disks: Sequence[Path] = (), memory: str = "512M"
    ) -> None:
        self.console: list[str] = []  # all that it said, marked or not
        self._root = root
        self._program = [f"/guest/{program}.py", *arguments]
        self._disks = [f"ubd{number}={path.resolve()}" for number, path in enumerate(disks)]
        self._memory = memory
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._ended = False

    def __enter__(self) -> Self:
        self._scratch = tempfile.TemporaryDirectory(prefix="guest-", dir=MEMORY)
        directory = self._scratch.name
        kernel = [KERNEL, f"mem={self._memory}", *self._disks, "umid=guest", f"uml_dir={directory}/"]
        root = ["root=/dev/root", "rootfstype=hostfs", f"rootflags={self._root.resolve()}", "ro"]
        console = ["con=null", "con0=null,fd:1", "console=tty0", "quiet"]
        env = [f"{key}={value}" for key, value in ENVIRONMENT.items()]  # passed on: the kernel does not know them
        self._process = subprocess.Popen(
            [*kernel, *root, *console, *env, "init=/usr/bin/python3", "--", *self._program],
            env={**os.environ, "TMPDIR": directory},  # for the file that is the guest's memory
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            if next(self.lines(60), None) != "booted":
                raise CannotRunError(str(self.failed("does not boot")))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._scratch.cleanup()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                if line.endswith(b"\n"):  # a cut may leave half a line
                    self._lines.put(line.decode(errors="replace").rstrip("\r\n"))
        self._lines.put(None)

    def lines(self, seconds: float) -> Iterator[str]:
        """Yield the program's lines, without the mark, until the guest ends or the time is over."""
        end = time.monotonic() + seconds
        while not self._ended and (left := end - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=left)
            except queue.Empty:
                return
            if line is None:
                self._ended = True
                return
            self.console.append(line)
            if line.startswith(MARK):
                yield line.removeprefix(MARK)

    def cut(self) -> None:
        """Cut the power: what only the guest's memory held is gone. What it said before can still be read."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()  # the output ends with the last of its processes: no one writes to the disk any more

    def finish(self, seconds: float) -> list[str]:
        """Return the program's remaining lines until it powers the guest off.

        Raises:
            GuestError: If it fails, or is not done by then.
        """
        said = list(self.lines(seconds))
        if not self._ended or said[-1:] != ["done"]:
            raise self.failed("failed" if self._ended else f"is not done after {seconds:g} seconds")
        self._process.wait()
        return said[:-1]

    def failed(self, what: str) -> GuestError:
        """Make an error of what it did wrong and the end of its console."""
        console = self.console
        if panics := [number for number, line in enumerate(console) if "Kernel panic" in line]:
            console = console[: panics[0] + 1]  # then follow the kernel's addresses
        end = "\n  ".join(console[-40:])
        return GuestError(f"{' '.join(self._program)} {what}; its console ended with\n  {end}")


def prepare() -> Path:
    """Install what is missing, make the root, and boot it once; give the root.

    Raises:
        CannotRunError: If this machine cannot do that; says why.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # or the guests would stay
    if why := missing():
        raise CannotRunError(why)
    root = make_root()
    with Guest(root, "booted") as guest:
        guest.finish(60)
    return root


def main() -> int:
    """Prepare, and print why that cannot be."""
    try:
        prepare()
    except CannotRunError as error:
        print(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
