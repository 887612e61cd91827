"""Every command of the project is a session here; `nox --list` names them.

A framework has one environment, `.nox/<name>`, which all sessions that need it
share: a dependency group of `pyproject.toml` says what is in it, and
`locks/<name>.txt` which versions. It is made again where either has changed.
With `--no-venv` none is made: all runs on the interpreter that runs nox.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib.util
import platform
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import nox
from nox.command import CommandFailed
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

nox.needs_version = ">=2025.2.9"
nox.options.sessions = []
declare = functools.partial(nox.session, venv_backend="none")  # nox's own environments cannot be shared

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
PARTS = {"harness", "reports"}  # groups that others include; the rest are environments
ENVIRONMENTS = [group for group in PROJECT["dependency-groups"] if group not in PARTS]
FRAMEWORKS = {"numpy": "NumPy", "torch": "PyTorch", "jax": "JAX", "tensorflow": "TensorFlow"}
ON_GPU = [framework for framework in FRAMEWORKS if framework != "numpy"]
PYTHONS = SpecifierSet(PROJECT["project"]["requires-python"])
STAMP = "unrolled-stamp.txt"
# https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/, minimum driver versions
DRIVERS = {"torch-gpu": 580, "jax-gpu": 580}
GATE = ("-m", "pytest", "-c", "pyproject.toml", "suites/parity")
# What the gate takes on request alone, and CI a little of: bf16's products, what the way back makes again.
ROUNDED = ("--dtype", "bf16", "--cell", "lstm", "--variant", "scratch,native")
ROUNDED_ONCE = ("--dtype", "bf16", "--cell", "lstm", "--task", "char_lm")
REMADE = ("--variant", "remat", "--task", "char_lm,sentiment", "--cell", "lstm,gru")
REMADE_ONCE = ("--variant", "remat", "--task", "sentiment", "--cell", "lstm", "--dtype", "float64")
ON_REQUEST: dict[str, list[tuple[str, ...]]] = {
    "numpy": [REMADE],
    "torch": [ROUNDED, REMADE],
    "jax": [REMADE_ONCE],
    "tensorflow": [REMADE_ONCE, ROUNDED_ONCE],
}
BROWSER = "tests/browser"  # a session of its own: not every machine has one
FRAMEWORK = "tests/frameworks"  # likewise: each file needs the framework of its name

# Read when the interpreter or the framework starts, so set before it does. The last one, and those for a
# GPU, as suites/bench/environments.py sets them for what it starts, and says why.
SETTINGS = {"PYTHONHASHSEED": "0", "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
SETTINGS |= {"OPENBLAS_THREAD_TIMEOUT": "24"}
GPU_SETTINGS = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
GPU_SETTINGS |= {"TF_CPP_MIN_LOG_LEVEL": "2"}


class Missing(Exception):
    """A framework cannot be had here; the text says expected, got, and what to do."""


def requirements(group: str) -> list[Requirement]:
    """What the group asks for on this Python and platform."""
    found = map(Requirement, nox.project.dependency_groups(PROJECT, group))
    return [r for r in found if r.marker is None or r.marker.evaluate()]


def interpreter(session: nox.Session, name: str, needs: str) -> str:
    """The interpreter of the environment, made first where need be. Raises Missing.

    With --no-venv it is the one that runs nox, which must hold the group ``needs``.
    """
    if not PYTHONS.contains(platform.python_version(), prereleases=True):
        session.error(
            f"expected Python {PYTHONS}, got {platform.python_version()} ({sys.executable}). "
            "Run nox with another: python3.11 -m pip install nox"
        )
    # Private, but the one place: `session.venv_backend` is "none" with or without the option.
    if session._runner.global_config.force_venv_backend == "none":
        check_installed(needs)
        return sys.executable
    check_offered(name)
    check_gpu(name)
    return make(session, name)


def check_installed(group: str) -> None:
    """Raise Missing unless this interpreter holds what the group asks for, in whatever version."""
    lacking = [r.name for r in requirements(group) if not installed(r)]
    if lacking:
        raise Missing(
            f"expected {', '.join(lacking)} in {sys.executable} (--no-venv), got no such package. "
            "Install it there, or leave --no-venv out: nox then makes an environment"
        )


def installed(requirement: Requirement) -> bool:
    """Whether this interpreter holds it. A framework counts by its module: its builds have many names."""
    module = requirement.name.removesuffix("-cpu")
    if module in FRAMEWORKS:
        return importlib.util.find_spec(module) is not None
    try:
        metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return False
    return True


def check_offered(name: str) -> None:
    """Raise Missing where the framework has no release for this Python and platform."""
    framework = name.removesuffix("-gpu")
    if framework not in FRAMEWORKS:
        return
    if not any(r.name.removesuffix("-cpu") == framework for r in requirements(name)):
        raise Missing(
            f"expected a Python that {FRAMEWORKS[framework]} has a release for (group {name} of "
            f"pyproject.toml), got {platform.python_version()} on {sys.platform} {platform.machine()}. "
            "Run nox with another: python3.11 -m pip install nox"
        )


def check_gpu(name: str) -> None:
    """Raise Missing before gigabytes of CUDA packages come to a machine that has no use for them."""
    if not name.endswith("-gpu"):
        return
    tool = shutil.which("nvidia-smi")
    listed = subprocess.run([tool, "--list-gpus"], capture_output=True, check=False).stdout if tool else b""
    if tool is None or not listed.strip():
        framework = name.removesuffix("-gpu")
        how = "that nvidia-smi lists" if tool else "(there is no nvidia-smi)"
        raise Missing(
            f"expected an NVIDIA GPU, got none {how}. For the CPU: parity-{framework}-cpu, "
            f"bench-{framework}-cpu. With a GPU of another kind: --no-venv, in an interpreter that holds "
            "the framework"
        )
    asked = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    driver = told.strip().partition(".")[0]
    if driver.isdecimal() and int(driver) < DRIVERS.get(name, 0):
        raise Missing(
            f"expected an NVIDIA driver of {DRIVERS[name]} or later, for locks/{name}.txt holds CUDA 13, got "
            f"{driver}: renew the driver, or --no-venv in an interpreter that holds an older CUDA"
        )


def make(session: nox.Session, name: str) -> str:
    """Make the environment, unless it is there, finished, with the same content."""
    folder = session.cache_dir.parent.resolve() / name
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    stamp = folder / STAMP
    lock = ROOT / "locks" / f"{name}.txt"
    if not lock.is_file():
        session.error(f"expected {lock}, got no such file. Write it: nox -s lock")
    wanted = requirements(name)
    content = "\n".join([sys.version, sys.base_prefix, *map(str, wanted), lock.read_text(encoding="utf-8")])
    digest = hashlib.sha256(content.encode()).hexdigest()
    if python.exists() and stamp.is_file() and stamp.read_text(encoding="utf-8") == digest:
        return str(python)
    session.log(f"Making the environment {name} in {folder}. Downloads can take minutes. Installing:")
    session.log(", ".join(str(r).partition(";")[0] for r in wanted))
    stamp.unlink(missing_ok=True)  # before all else: clearing may be interrupted, too
    session.run_install(
        *(sys.executable, "-m", "virtualenv", "--clear", "--no-periodic-update", str(folder)),
        silent=True,
        log=False,
    )
    session.run_install(
        *(str(python), "-m", "pip", "install", "--disable-pip-version-check", "--constraint", str(lock)),
        *map(str, wanted),
        silent=True,
        log=False,
    )
    stamp.write_text(digest, encoding="utf-8")
    return str(python)


def need(session: nox.Session, name: str, needs: str = "") -> str:
    """:func:`interpreter`, the session ending where it is missing."""
    try:
        return interpreter(session, name, needs or name)
    except Missing as missing:
        session.error(str(missing))


def run(session: nox.Session, name: str, *command: str, needs: str = "") -> None:
    """Run ``python <command>`` in the environment; ``needs`` as for :func:`interpreter`."""
    launch(session, need(session, name, needs), *command, gpu=name.endswith("-gpu"))


def launch(session: nox.Session, python: str, *command: str, gpu: bool = False) -> None:
    """Run ``python <command>`` with the settings that every measurement has."""
    settings = SETTINGS | (GPU_SETTINGS if gpu else {})
    # An interrupted run is given the time to finish the record that it is writing.
    session.run(python, *command, env=settings, interrupt_timeout=10, terminate_timeout=5)


@declare()
def compare(session: nox.Session) -> None:
    """The main job: prove all equal, time them, write the report (-- --full: every task; --device gpu)."""
    side_by_side(session, "suites.bench")


@declare()
def curves(session: nox.Session) -> None:
    """Time and memory of all four against T, B and H, and the report (-- --axis T: of one alone)."""
    side_by_side(session, "suites.bench.curves")


@declare(name="gpu-visit")
def gpu_visit(session: nox.Session) -> None:
    """Ten minutes on a GPU: prove, time, measure memory, what is worth most first (-- --minutes 20)."""
    side_by_side(session, "suites.bench.visit", "gpu")


def side_by_side(session: nox.Session, module: str, device: str = "cpu") -> None:
    """Measure with every framework that can be had here, then write the report."""
    if {"-h", "--help"} & set(session.posargs):
        run(session, "numpy", "-m", module, "--help", needs="harness")
        return
    device = option(session, "--device") or device
    pythons, oracle = all_pythons(session, device), need(session, "numpy", "harness")
    named = [part for framework, python in pythons.items() for part in ("--python", f"{framework}={python}")]
    failure = None
    try:
        launch(session, oracle, "-m", module, *named, *session.posargs)
    except CommandFailed as failed:
        if str(failed) != "Returned code 1":
            raise
        failure = failed  # of some rows: the report shows them
    records = option(session, "--records")  # the report reads what the run wrote
    try:
        oracle = interpreter(session, "numpy", "reports")
        launch(session, oracle, "-m", "reports", *(("--records", records) if records else ()))
    except Missing as missing:
        session.warn(f"no report is written: {missing}. The records are kept, for `nox -s report` elsewhere")
    if failure:
        raise failure


def all_pythons(session: nox.Session, device: str = "cpu") -> dict[str, str]:
    """The interpreter of each framework that can be had here for the device."""
    pythons: dict[str, str] = {}
    for framework in FRAMEWORKS if device == "cpu" else ON_GPU:
        name = framework if device == "cpu" else f"{framework}-gpu"
        try:
            pythons[framework] = interpreter(session, name, "harness" if framework == "numpy" else name)
        except Missing as missing:
            session.warn(f"{framework} is left out: {missing}")
    if not pythons:
        session.error(f"nothing can be compared on the {device.upper()}: see above, framework by framework")
    return pythons


@declare()
def report(session: nox.Session) -> None:
    """Write the report from the records (-- --records DIR --out DIR)."""
    run(session, "numpy", "-m", "reports", *session.posargs, needs="reports")


def add(kind: str, framework: str, device: str) -> None:
    """Register ``<kind>-<framework>-<device>``."""
    command, doc = {
        "parity": (GATE, "Prove {} equal to the float64 oracle."),
        "bench": (("-m", "suites.bench"), "Prove {} equal to the float64 oracle, then time it."),
        "train": (("-m", "suites.train"), "Prove {}, then train a task to its stated steps."),
    }[kind]
    environment = framework if device == "cpu" else f"{framework}-gpu"
    needs = "harness" if framework == "numpy" else environment

    def body(session: nox.Session) -> None:
        chosen = ("--impl", framework, "--device", device)
        run(session, environment, *command, *chosen, *session.posargs, needs=needs)

    body.__doc__ = doc.format(f"{FRAMEWORKS[framework]} on the {device.upper()}")
    tags = ["ci"] if (kind, device) == ("parity", "cpu") else []
    declare(name=f"{kind}-{framework}-{device}", tags=tags)(body)


for _kind in ("parity", "bench", "train"):
    for _device, _frameworks in {"cpu": [*FRAMEWORKS], "gpu": ON_GPU}.items():
        for _framework in _frameworks:
            add(_kind, _framework, _device)


@declare(tags=["ci"])
def lint(session: nox.Session) -> None:
    """Ruff and mypy (-- --fix mends what ruff can)."""
    if session.posargs not in ([], ["--fix"]):
        session.error(f"expected nothing or --fix after --, got {' '.join(session.posargs)}")
    check, layout = (["--fix"], []) if session.posargs else ([], ["--check"])
    run(session, "lint", "-m", "ruff", "check", *check, ".")
    run(session, "lint", "-m", "ruff", "format", *layout, ".")
    run(session, "lint", "-m", "mypy")


@declare(tags=["ci"])
def mutants(session: nox.Session) -> None:
    """Prove the gate: every planted defect of NumPy's and PyTorch's must die (-- --impl jax; --only NAME)."""
    if option(session, "--impl"):
        run_of(session, "suites.parity.mutants", *session.posargs)
        return
    for name in ("numpy", "torch"):
        needs = "harness" if name == "numpy" else name
        run(session, name, "-m", "suites.parity.mutants", "--impl", name, *session.posargs, needs=needs)


@declare()
def calibrate(session: nox.Session) -> None:
    """Measure the gate's errors over seeds (-- measure --impl torch), derive its constants (-- derive)."""
    run_of(session, "suites.parity.calibration", *(session.posargs or ["derive"]))


@declare()
def trials(session: nox.Session) -> None:
    """Measure the measuring: a row under two names, and slowed down (-- --impl torch --repeats 20)."""
    run_of(session, "suites.bench.trials", *session.posargs)
    if {"-h", "--help"} & set(session.posargs):
        return
    work = (
        option(session, "--work")
        or ROOT / ".cache" / "trials" / Path(option(session, "--impl") or "numpy").name
    )
    passes = option(session, "--passes")
    page = ("--records", f"{work}/records", "--out", f"{work}/trials.md")
    chosen = ("--passes", passes) if passes else ()
    run(session, "numpy", "-m", "reports.trials", *page, *chosen, needs="reports")


@declare()
def ablations(session: nox.Session) -> None:
    """What each means of a tuned row is worth, in pairs (-- --impl numpy --only without-tables --size M)."""
    failure = None
    try:
        run_of(session, "suites.bench.ablations", *session.posargs)
    except CommandFailed as failed:
        if str(failed) != "Returned code 1":
            raise
        failure = failed  # of some copies: the page shows the others
    if {"-h", "--help"} & set(session.posargs):
        return
    work = option(session, "--work") or ROOT / ".cache" / "ablations" / (option(session, "--impl") or "numpy")
    page = ("--records", f"{work}/records", "--out", f"{work}/ablations.md")
    run(session, "numpy", "-m", "reports.ablations", *page, needs="reports")
    if failure:
        raise failure


@declare()
def overhead(session: nox.Session) -> None:
    """Measure the harness: a row in it and in a bare loop (-- --impl torch --task adding --cell lstm)."""
    run_of(session, "suites.bench.overhead", *session.posargs)


@declare()
def profile(session: nox.Session) -> None:
    """Where a row's time goes, by its framework's own profiler (-- --impl jax --variant tuned --size L)."""
    run_of(session, "suites.bench.profile", *session.posargs)


@declare()
def diagnose(session: nox.Session) -> None:
    """Gradient norms, clipping and hidden states of all four, beside the oracle's (-- --impl jax: of one)."""
    asked = {part.partition("=")[0] for part in session.posargs}
    if asked & {"-h", "--help", "--impl"}:
        run_of(session, "suites.diagnostics", *session.posargs)
        return
    failures = []
    for framework, python in all_pythons(session, option(session, "--device") or "cpu").items():
        try:
            launch(session, python, "-m", "suites.diagnostics", "--impl", framework, *session.posargs)
        except CommandFailed as failed:
            if str(failed) != "Returned code 1":  # a mistake is one for all of them
                raise
            failures.append(failed)  # of some rows: the others go on, the report shows them
    if failures:
        raise failures[0]


def run_of(session: nox.Session, module: str, *arguments: str) -> None:
    """Run the module in the environment that ``--impl`` and ``--device`` name, else in NumPy's."""
    impl = option(session, "--impl")
    name = impl if impl in FRAMEWORKS else "numpy"
    if option(session, "--device") == "gpu" and name in ON_GPU:
        name += "-gpu"
    run(session, name, "-m", module, *arguments, needs="harness" if name == "numpy" else name)


def option(session: nox.Session, flag: str) -> str | None:
    """What was given for the flag after ``--``."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(flag, dest="value")
    value: str | None = parser.parse_known_args(session.posargs)[0].value
    return value


@declare()
def reproduce(session: nox.Session) -> None:
    """Measure a number of a report again, and say whether it comes out the same (-- ID)."""
    oracle = need(session, "numpy", "reports")
    given = session.posargs or ["--help"]
    if {"-h", "--help"} & set(given):
        launch(session, oracle, "-m", "suites.reproduce", *given)
        return
    asked = ("-m", "suites.reproduce", *given, "--environment")
    said = session.run(oracle, *asked, env=SETTINGS, silent=True, log=False)
    name = str(said).split()[-1]
    python = need(session, name, "harness" if name == "numpy" else name)
    work = ROOT / ".cache" / "reproduce"
    work.mkdir(parents=True, exist_ok=True)
    new = ("--new", tempfile.mkdtemp(dir=work, prefix=f"{name}-"))  # never what an earlier call measured
    launch(session, python, "-m", "suites.reproduce", *given, *new, gpu=name.endswith("-gpu"))
    launch(session, oracle, "-m", "reports.reproduced", *given, *new)


@declare()
def diff(session: nox.Session) -> None:
    """What got slower from one set of records to another (-- OLD NEW); fails on a regression."""
    run(session, "numpy", "-m", "reports.diff", *session.posargs, needs="reports")


@declare(tags=["ci"])
def tests(session: nox.Session) -> None:
    """The project's own tests (posargs go to pytest)."""
    every = ["-n", "logical", "tests", "--ignore", BROWSER, "--ignore", FRAMEWORK]
    run(session, "numpy", "-m", "pytest", *(session.posargs or every))


@declare(tags=["ci"])
def browser(session: nox.Session) -> None:
    """The report's page in a real browser: Chromium or Chrome, on the path or named by UNROLLED_BROWSER."""
    run(session, "numpy", "-m", "pytest", *(session.posargs or ["-n", "logical", BROWSER]))


@declare(name="own-layer", tags=["ci"])
def own_layer(session: nox.Session) -> None:
    """Run the worked example of suites/parity/README.md: it fails as the page says, then passes."""
    run(session, "torch", "-m", "pytest", *(session.posargs or ["tests/parity/test_own_layer.py"]))


@declare(tags=["ci"])
def frameworks(session: nox.Session) -> None:
    """What a framework has beside the gate, tested in its own environment: precisions, parts for a GPU."""
    for file in sorted((ROOT / FRAMEWORK).glob("test_*.py")):
        run(session, file.stem.removeprefix("test_"), "-m", "pytest", str(file), *session.posargs)


@declare(name="report-check", tags=["ci"])
def report_check(session: nox.Session) -> None:
    """Fail where a published report differs from what its records give."""
    run(session, "numpy", "-m", "reports", "--check", *session.posargs, needs="reports")


@declare()
def lock(session: nox.Session) -> None:
    """Write locks/*.txt from pyproject.toml (-- --upgrade moves the versions)."""
    python = need(session, "lock")
    oldest = str(PYTHONS).removeprefix(">=")
    for name in ENVIRONMENTS:
        session.log(f"locks/{name}.txt")
        session.run(
            *(python, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--python-version", oldest),
            *("--fork-strategy", "fewest", "--custom-compile-command", "nox -s lock", "--group", name),
            *("--output-file", f"locks/{name}.txt", *session.posargs),
            log=False,
        )


@declare(name="parity-on-request", tags=["ci"])
def parity_on_request(session: nox.Session) -> None:
    """On the CPU, a few rows of what the gate takes on request alone: bf16, `remat`."""
    for framework, chosen in ON_REQUEST.items():
        needs = "harness" if framework == "numpy" else framework
        for rows in chosen:
            run(session, framework, *GATE, "--impl", framework, *rows, *session.posargs, needs=needs)
