"""Builds the kiosk's Debian package into `dist/`: the daemon, gatewayctl, their pinned dependencies, units and rules.

The same sources give the same bytes: every time is that of the last commit (or SOURCE_DATE_EPOCH), every mode and owner
is set here, the compiled dependency is compiled without debugging information, and the interpreter's cache files carry
a hash instead of a time. `--check` builds twice, from two folders, and compares.

Run with the checkout's own Python, which is Debian's with the build's packages; `make deb` does.
"""

from __future__ import annotations

import argparse
import datetime
import filecmp
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.utils import format_datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements/kiosk.txt"
TAKEN = (
    "protos",
    "gatewayd",
    "clients/ctl",
    "systemd",
    "docs",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
)
PYTHON = "/usr/bin/python3"  # the kiosk's, whose cache files these are
LIBRARY = "usr/lib/gatewayd"
DOCUMENTS = "usr/share/doc/gatewayd"
SHARED = "usr/share/gatewayd"
SECONDS = 600

# What lies where. Files that others write are taken as they are at the build: those that are not there yet are missing.
SOURCES = {
    "gatewayd.service": "usr/lib/systemd/system/gatewayd.service",
    "gatewayd-pcscd-restart.path": "usr/lib/systemd/system/gatewayd-pcscd-restart.path",
    "gatewayd-pcscd-restart.service": "usr/lib/systemd/system/gatewayd-pcscd-restart.service",
    "gatewayd.sysusers": "usr/lib/sysusers.d/gatewayd.conf",
    "gatewayd.rules": "usr/share/polkit-1/rules.d/50-gatewayd.rules",
    "gatewayd.toml": f"{SHARED}/gatewayd.toml",
    "prometheus.yml": f"{SHARED}/prometheus.yml",
    "alerts/gatewayd.yml": f"{SHARED}/alerts/gatewayd.yml",
    "dashboards/gatewayd.json": f"{SHARED}/dashboards/gatewayd.json",
    "debian/copyright": f"{DOCUMENTS}/copyright",
    "debian/lintian-overrides": "usr/share/lintian/overrides/gatewayd",
}
PROGRAMS = {"debian/gatewayd": "usr/bin/gatewayd", "debian/gatewayctl": "usr/bin/gatewayctl"}
PAGES = (
    *("../CHANGELOG.md", "INSTALL.md", "OPERATIONS.md", "DOCTOR.md", "RUNBOOKS.md"),
    *("REASONS.md", "ERRORS.md", "METRICS.md", "THREATS.md", "PERFORMANCE.md"),
)
FOLDERS = ("etc/gatewayd/tls",)  # the operator's; the package puts nothing into them
SCRIPTS = ("postinst", "prerm", "postrm")

# What a distribution brings that no kiosk needs, or that says when and where it was installed.
USELESS_FOLDERS = ("bin", "**/__pycache__", "**/tests", "**/sboms")
USELESS_FILES = (
    "*.dist-info/RECORD",
    "*.dist-info/INSTALLER",
    "*.dist-info/REQUESTED",
    "*.dist-info/direct_url.json",
    "**/*.pyi",
    "**/*.pyx",
    "**/*.pxd",
    "**/*.proto",
    "**/*.pxi",
)


def main() -> None:
    """Build, and print where the package is, its size and its digest."""
    parser = argparse.ArgumentParser(description="Build the kiosk's Debian package.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", metavar="DIRECTORY")
    parser.add_argument("--check", action="store_true", help="build it twice and fail unless both are the same")
    arguments = parser.parse_args()
    os.umask(0o022)
    os.environ["SOURCE_DATE_EPOCH"] = str(source_time())  # one time for all: somebody may commit meanwhile
    with tempfile.TemporaryDirectory(prefix="deb-") as folder:
        sources = Path(folder) / "sources"
        take_sources(sources)
        package = build(sources, Path(folder), arguments.out)
        print(f"{package}: {package.stat().st_size / 1_000_000:.1f} MB, SHA-256 {digest(package)}")
        if arguments.check:
            other = Path(folder) / "another/folder"
            shutil.copytree(sources, other / "copy")
            if not filecmp.cmp(package, build(other / "copy", other, other), shallow=False):
                raise SystemExit("built again, it differs: not reproducible")
            print("built again in another folder: the same bytes")


def take_sources(sources: Path) -> None:
    """Copy what the package is built from: a build writes beside its sources, and they may change meanwhile."""
    unwanted = shutil.ignore_patterns("__pycache__", "gen", "gen.*")
    for name in TAKEN:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, sources / name, ignore=unwanted)
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, sources / name)


def build(sources: Path, folder: Path, out: Path) -> Path:
    """Build from a copy of the sources in a folder; return the package. Raises CalledProcessError when a tool fails."""
    stage, library = folder / "stage", folder / "stage" / LIBRARY
    library.mkdir(parents=True)
    with stage_of_time("dependencies"):
        install_dependencies(folder, library)
    shutil.rmtree(library / "bin")  # pip would not write over it
    with stage_of_time("our own"):
        install_own(sources, folder, library)
    remove_useless(library)
    with stage_of_time("cache files"):
        compile_all(stage)
    install_files(sources, stage)
    write_control(sources, stage)
    package = out.resolve() / f"gatewayd_{version(sources)}_{architecture()}.deb"
    out.mkdir(parents=True, exist_ok=True)
    settle(stage)
    with stage_of_time("compression"):
        # xz would save a fifth of the size, in twenty times the time.
        run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-z6", "--build", stage, package])
    return package


def install_dependencies(folder: Path, library: Path) -> None:
    """Install what the lock names, nothing else; what has to be compiled is compiled here."""
    kept = ROOT / ".cache/deb" / hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    if not (kept / "complete").exists():
        kept.mkdir(parents=True, exist_ok=True)
        pip("download", "--no-deps", "--require-hashes", "--no-build-isolation", "--dest", kept, "-r", LOCK)
        (kept / "complete").touch()
    pip(
        *("install", "--no-deps", "--require-hashes", "--no-build-isolation"),
        *("--no-index", "--find-links", kept, "--no-cache-dir"),
        *("--no-compile", "--target", library, "-r", LOCK),
        environment={"CFLAGS": f"-g0 -ffile-prefix-map={folder}=.", "TMPDIR": str(folder)},
    )


def install_own(sources: Path, folder: Path, library: Path) -> None:
    """Install the contracts, the daemon and gatewayctl."""
    pip(
        *("install", "--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir"),
        *("--no-compile", "--target", library, sources / "protos", sources),
        environment={"TMPDIR": str(folder)},
    )


def remove_useless(library: Path) -> None:
    """Remove what the distributions bring and no kiosk needs."""
    for pattern in USELESS_FOLDERS:
        for found in list(library.glob(pattern)):
            shutil.rmtree(found, ignore_errors=True)
    for pattern in USELESS_FILES:
        for found in list(library.glob(pattern)):
            found.unlink()


def compile_all(stage: Path) -> None:
    """Write the interpreter's cache files; the kiosk can write none."""
    command: list[str | Path] = [PYTHON, "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    run([*command, "-s", stage, "-p", "/", stage / LIBRARY], {"PYTHONHASHSEED": "0"})


def install_files(sources: Path, stage: Path) -> None:
    """Put units, rules, programs and documents in their places."""
    units, docs = sources / "systemd", sources / "docs"
    wanted = {units / source: target for source, target in (SOURCES | PROGRAMS).items()}
    wanted |= {page: f"{DOCUMENTS}/{page.name}" for name in PAGES if (page := docs / name).exists()}
    for source, target in wanted.items():
        (stage / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, stage / target)
    for folder in FOLDERS:
        (stage / folder).mkdir(parents=True)
    changes = (
        (units / "debian/changelog").read_text().format(version=version(sources), date=format_datetime(source_date()))
    )
    (stage / DOCUMENTS / "changelog.gz").write_bytes(gzip.compress(changes.encode(), mtime=0))


def write_control(sources: Path, stage: Path) -> None:
    """Write what dpkg wants to know."""
    files = sorted(path for path in stage.rglob("*") if path.is_file())
    kibibytes = sum(-(-path.stat().st_size // 1024) for path in files)
    control = stage / "DEBIAN"
    control.mkdir()
    scripts = sources / "systemd/debian"
    text = (scripts / "control").read_text()
    filled = text.format(version=version(sources), architecture=architecture(), size=kibibytes)
    (control / "control").write_text(filled)
    sums = (f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(stage)}\n" for path in files)  # noqa: S324 - dpkg's format
    (control / "md5sums").write_text("".join(sums))
    for name in SCRIPTS:
        shutil.copyfile(scripts / name, control / name)


def settle(stage: Path) -> None:
    """Give everything its mode, and the time of the sources."""
    executable = {stage / target for target in PROGRAMS.values()} | {stage / "DEBIAN" / name for name in SCRIPTS}
    moment = source_time()
    for path in [stage, *stage.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or path in executable else 0o644)
        os.utime(path, (moment, moment))


def version(sources: Path) -> str:
    """Return the version, which is the daemon's."""
    project = tomllib.loads((sources / "pyproject.toml").read_text())["project"]
    found: str = project["version"]
    return found


def architecture() -> str:
    """Return dpkg's name of this machine's architecture."""
    return run(["dpkg", "--print-architecture"]).strip()


def source_time() -> int:
    """Return the time of the sources: SOURCE_DATE_EPOCH, or that of the last commit, in seconds since 1970."""
    return int(os.environ.get("SOURCE_DATE_EPOCH") or run(["git", "-C", ROOT, "log", "-1", "--format=%ct"]))


def source_date() -> datetime.datetime:
    """Return the same as a date."""
    return datetime.datetime.fromtimestamp(source_time(), datetime.UTC)


def digest(package: Path) -> str:
    """Return the package's SHA-256."""
    return hashlib.sha256(package.read_bytes()).hexdigest()


def pip(*words: str | Path, environment: Mapping[str, str] | None = None) -> None:
    """Run pip."""
    quiet = ("--quiet", "--disable-pip-version-check", "--no-input")
    run([sys.executable, "-m", "pip", words[0], *quiet, *words[1:]], environment)


def run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> str:
    """Run a command and return what it says. Raises CalledProcessError."""
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # swig and protoc's plugins
    surroundings = {**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC", "PATH": scripts, **(environment or {})}
    done = subprocess.run(command, env=surroundings, stdout=subprocess.PIPE, text=True, timeout=SECONDS, check=True)
    return done.stdout


@contextmanager
def stage_of_time(name: str) -> Iterator[None]:
    """Tell how long a stage took."""
    began = time.perf_counter()
    yield
    print(f"  {name}: {time.perf_counter() - began:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
