"""A CPython of one's own: built from Debian's source, for releases and builds that the machine does not have.

    python tests/interpreters/build.py 3.14t [DIRECTORY]     t: free-threaded, which is --disable-gil

Prints the path of the interpreter. It stays in the directory, .nox/interpreters by default, and is not built twice:
some minutes with two cores. Where it cannot be had, the exit status is 1 and the last line says why. Nothing outside of
the directory is changed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

# The release that was tried last, and its digest in Debian's signed description of the source. Debian's mirrors drop
# old releases; then it is the one of the suite below.
KNOWN = {
    "3.13": ("3.13.15", "1e66a7945a48390ee4c2a4268a0e4185884059a13c4aab6d148aa208deea4a76"),
    "3.14": ("3.14.7", "3b48dac8fb59f62eaa67ac83c1eb12bda1b7a08406dd286e252c11a66be27f81"),
}
SUITE = "testing"
HEADERS = {  # modules of the standard library that the tests need, and Debian's packages for them
    "bzlib.h": "libbz2-dev",
    "ffi.h": "libffi-dev",
    "lzma.h": "liblzma-dev",
    "openssl/ssl.h": "libssl-dev",
    "sqlite3.h": "libsqlite3-dev",
    "zlib.h": "zlib1g-dev",
}
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"


class NotHadError(Exception):
    """The interpreter cannot be had; why."""


def interpreter(minor: str, directory: Path, *, free_threaded: bool) -> Path:
    """Return the interpreter of a release such as 3.14, and build it if it is missing.

    Raises:
        NotHadError: If that is not possible here.
    """
    kind = "t" if free_threaded else ""
    for there in sorted(directory.glob(f"{minor}.*[0-9]{kind}/built")):
        return there.with_name("bin") / "python3"
    _check_tools()
    with tempfile.TemporaryDirectory() as temporary:
        archive, version = _source(minor, Path(temporary))
        print(f"building CPython {version}{kind}", file=sys.stderr, flush=True)
        with tarfile.open(archive) as file:
            file.extractall(temporary, filter="data")
        (source,) = [path.parent for path in Path(temporary).glob("*/configure")]
        prefix = (directory / f"{version}{kind}").absolute()
        options = ["--disable-test-modules", *(["--disable-gil"] if free_threaded else [])]
        _run(["./configure", "-q", f"--prefix={prefix}", *options], source)
        _run(["make", "-s", f"-j{os.cpu_count()}"], source)
        _run(["make", "-s", "install"], source)
    (prefix / "built").write_text(f"{version}\n")
    return prefix / "bin" / "python3"


def _check_tools() -> None:
    missing = [tool for tool in ("apt-get", "cc", "make") if shutil.which(tool) is None]
    if missing:
        raise NotHadError(f"no {', '.join(missing)} (on Debian: apt-get install build-essential)")
    packages = []
    for header, package in HEADERS.items():
        command = ["cc", "-E", "-x", "c", "-"]
        found = subprocess.run(command, input=f"#include <{header}>\n", text=True, capture_output=True, check=False)
        packages += [package] if found.returncode else []
    if packages:
        raise NotHadError(f"headers are missing: apt-get install {' '.join(packages)}")


def _source(minor: str, directory: Path) -> tuple[Path, str]:
    """Fetch the source: the known release, or else what the suite has."""
    mirror = _mirror()
    version, digest = KNOWN.get(minor, ("", ""))
    if version:
        archive = directory / f"python{minor}_{version}.orig.tar.xz"
        address = f"{mirror}pool/main/p/python{minor}/{archive.name}"
        # It follows redirections and asks proxies as apt does.
        helper = ["/usr/lib/apt/apt-helper", "download-file", address, str(archive)]
        if not subprocess.run(helper, capture_output=True, check=False).returncode:
            if hashlib.sha256(archive.read_bytes()).hexdigest() != digest:
                raise NotHadError(f"not what it was: {address}")
            return archive, version
    sources = directory / "suite.list"
    sources.write_text(f"deb-src [signed-by={KEYS}] {mirror} {SUITE} main\n")
    (directory / "lists" / "partial").mkdir(parents=True)
    settings = {
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": os.devnull,
        "Dir::State::Lists": directory / "lists",
        "Dir::Cache::srcpkgcache": "",
        "APT::Sandbox::User": "root",  # another could not write here
    }
    apt = ["apt-get", *(f"-o{name}={value}" for name, value in settings.items())]
    _run([*apt, "-qq", "update"], directory)
    _run([*apt, "-qq", "source", "--only-source", "--download-only", f"python{minor}"], directory)
    (archive,) = directory.glob(f"python{minor}_*.orig.tar.xz")
    return archive, archive.name.removesuffix(".orig.tar.xz").partition("_")[2]


def _mirror() -> str:
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian"]
    mirrors = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    if not mirrors:
        raise NotHadError("apt knows no mirror of Debian (apt-get update tells it)")
    return mirrors[0]


def _run(command: list[str], directory: Path) -> None:
    """Run a program, and show what it says only if it fails."""
    done = subprocess.run(
        command, cwd=directory, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        print(done.stdout[-4000:], file=sys.stderr)
        said = done.stdout.splitlines() or ["nothing said"]
        errors = [line for line in said if line.startswith("E: ")]  # as apt writes them
        raise NotHadError(f"{Path(command[0]).name} failed: {(errors or said[-1:])[0]}")


def main() -> None:
    """Build what is asked for."""
    if len(sys.argv) not in {2, 3}:
        sys.exit(__doc__)
    release, directory = sys.argv[1], Path(*sys.argv[2:] or [".nox/interpreters"])
    try:
        print(interpreter(release.removesuffix("t"), directory, free_threaded=release.endswith("t")))
    except NotHadError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
