"""Where a record comes from: source, versions, machine, threads.

Nothing here identifies a person or a machine: no user name, no host name, no
absolute path, no serial number. What cannot be read is "unknown", never a guess.
"""

from __future__ import annotations

import getpass
import hashlib
import importlib.metadata
import os
import platform
import re
import socket
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from threadpoolctl import threadpool_info

from results.record import canonical

ROOT = Path(__file__).resolve().parent.parent
SUITES = ROOT / "suites"
SOURCES = {".py", ".toml", ".json"}
COMMAND_S = 20.0  # git and nvidia-smi answer within seconds; a hung driver must not hang us

THREAD_VARIABLES = (
    "BLIS_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "KMP_AFFINITY",
    "KMP_BLOCKTIME",
    "MALLOC_ARENA_MAX",  # not threads, but as fateful: suites/bench/environments.py
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "MALLOC_TRIM_THRESHOLD_",
    "OPENBLAS_THREAD_TIMEOUT",
    "MKL_DYNAMIC",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_DYNAMIC",
    "OMP_NUM_THREADS",
    "OMP_PLACES",
    "OMP_PROC_BIND",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "XLA_FLAGS",  # holds XLA's thread settings on a CPU
)
BLAS_KEYS = ("user_api", "internal_api", "version", "num_threads", "threading_layer", "architecture")
GPU_QUERY = ("name", "driver_version", "clocks.sm", "clocks.max.sm", "temperature.gpu")

# An absolute path inside a text: POSIX, as an address, or Windows with its drive. Neither "and/or"
# nor https://example.org/a is one.
PATHS = re.compile(
    r"(?<![\w./~])/[^\s/:,;='\"]+(?:/[^\s:,;='\"]*)*|\bfile:/[^\s,;'\"]+|\b[A-Za-z]:\\[^\s,;='\"]*"
)


def collect(
    implementation_folder: Path,
    lock_file: Path | None,
    packages: Iterable[str],
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """All that a record says of its origin; ``extra`` is kept under that name, cleaned of
    absolute paths, user name and host name. A lock file that is None or absent is "none"."""
    gpus = _gpus()
    hardware = _hardware(gpus)
    commit, dirty = _commit()
    found: dict[str, Any] = {
        "source": source_hash(implementation_folder),
        "commit": commit,
        "dirty": dirty,
        "lock": _lock_hash(lock_file),
        "versions": _versions(packages),
        "platform": _platform(),
        "hardware": hardware,
        "hardware_hash": _hardware_hash(hardware),
        "threads": {name: _clean(os.environ[name]) for name in THREAD_VARIABLES if name in os.environ},
        "blas": [{key: pool[key] for key in BLAS_KEYS if key in pool} for pool in threadpool_info()],
        "clock": _clock(gpus),
    }
    if extra:
        found["extra"] = _clean(dict(extra))
    return found


def source_hash(implementation_folder: Path) -> str:
    """SHA-256 over the sorted relative paths and bytes of the sources of the
    implementation and of ``suites/``, which decides what is asked of it."""
    sha = hashlib.sha256()
    for label, folder in (("implementation", implementation_folder), ("suites", SUITES)):
        for name, path in _sources(folder):
            content = path.read_bytes()
            sha.update(f"{label}/{name}\0{len(content)}\0".encode())
            sha.update(content)
    return sha.hexdigest()


def _sources(folder: Path) -> list[tuple[str, Path]]:
    """Relative POSIX path and path of every source file; hidden folders (.venv, say) are none."""
    found = []
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if path.suffix in SOURCES and path.is_file() and not any(part.startswith(".") for part in parts):
            found.append(("/".join(parts), path))
    return sorted(found)


def _commit() -> tuple[str, bool | str]:
    """The commit of this checkout and whether it has changes that no commit holds."""
    top = _git("rev-parse", "--show-toplevel")
    commit = _git("rev-parse", "--verify", "HEAD")
    status = _git("status", "--porcelain")
    # An unpacked archive may lie inside some other repository, whose commit says nothing of us.
    if top is None or commit is None or status is None or Path(top).resolve() != ROOT:
        return "unknown", "unknown"
    return commit, status != ""


def _git(*arguments: str) -> str | None:
    # A hook exports GIT_DIR and the like, which would answer for another repository.
    environment = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    return _output(["git", "--no-optional-locks", "-C", str(ROOT), *arguments], environment)


def _output(command: list[str], environment: Mapping[str, str] | None = None) -> str | None:
    """What a command prints, stripped; None where it is absent, fails or hangs."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMMAND_S, check=False, env=environment
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _lock_hash(lock_file: Path | None) -> str:
    if lock_file is None or not lock_file.is_file():
        return "none"
    return hashlib.sha256(lock_file.read_bytes()).hexdigest()


def _versions(packages: Iterable[str]) -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in packages:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def _platform() -> dict[str, str]:
    """The kind of system, without ``platform.node()``."""
    return {
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "python": platform.python_implementation(),
        "libc": " ".join(platform.libc_ver()).strip() or "unknown",
    }


def _hardware(gpus: list[dict[str, str]]) -> dict[str, Any]:
    names = [gpu["name"] for gpu in gpus]
    return {
        "cpu": _cpu_model(),
        "cores": _usable_cores(),
        "memory_bytes": int(psutil.virtual_memory().total),
        "gpu": ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names)) or "none",
        "driver": ", ".join(dict.fromkeys(gpu["driver_version"] for gpu in gpus)) or "none",
    }


def _hardware_hash(hardware: Mapping[str, Any]) -> str:
    """Equal on equal machines: memory counts in whole GiB, as a kernel's own share varies."""
    coarse = {**hardware, "memory_bytes": round(hardware["memory_bytes"] / 2**30)}
    return hashlib.sha256(canonical(coarse).encode()).hexdigest()


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return (match.group(1).strip() if match else platform.processor()) or platform.machine() or "unknown"


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _gpus() -> list[dict[str, str]]:
    """One dict of GPU_QUERY for each GPU that nvidia-smi sees."""
    text = _output(["nvidia-smi", f"--query-gpu={','.join(GPU_QUERY)}", "--format=csv,noheader"])
    rows = [line.split(", ") for line in (text or "").splitlines()]
    return [dict(zip(GPU_QUERY, row, strict=True)) for row in rows if len(row) == len(GPU_QUERY)]


def _clock(gpus: list[dict[str, str]]) -> dict[str, Any]:
    """How busy and how fast the machine was just now."""
    try:
        frequency = psutil.cpu_freq()
    except (OSError, NotImplementedError):
        frequency = None
    clock: dict[str, Any] = {
        "load_average": [round(load, 2) for load in psutil.getloadavg()],
        "cpu_mhz": round(frequency.current) if frequency else "unknown",
        "cpu_max_mhz": round(frequency.max) if frequency and frequency.max else "unknown",
    }
    if gpus:
        clock["gpus"] = [{name: gpu[name] for name in GPU_QUERY[2:]} for gpu in gpus]
    return clock


def _clean(value: Any) -> Any:
    """The value with absolute paths, user name and host name out of every text."""
    if isinstance(value, Mapping):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if not isinstance(value, str):
        return value
    text = PATHS.sub("<path>", value)
    for name in _private_names():
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "<private>", text)
    return text


def _private_names() -> list[str]:
    """User and host names, the longest first: one may begin with another."""
    names = {socket.gethostname(), platform.node()}
    with suppress(OSError, KeyError):  # a user id without a name, as in a container
        names.add(getpass.getuser())
    return sorted(names - {"", "localhost"}, key=len, reverse=True)
