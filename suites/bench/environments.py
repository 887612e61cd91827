"""Where each implementation runs: an interpreter, its environment variables, a child process."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from results.errors import UserError
from suites.recording import ROOT

# Without these glibc gives freed memory back and takes it anew, as often as the heap happens to lie: a step
# of NumPy's LSTM then takes 300 to 1500 page faults and 6.1 to 8.1 ms, another in each process; with them
# none, and 5.6 ms in all. What is larger than 32 MiB, the most that a threshold may be, is mapped anew each
# time unless nothing is (MMAP_MAX), and comes from the one heap that grows at will (ARENA_MAX), in large
# steps (TOP_PAD): a step of JAX's LSTM at L took 28 000 page faults and 376 ms, with these none and 319.
# https://sourceware.org/glibc/manual/latest/html_node/Malloc-Tunable-Parameters.html
KEEPS_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_MAX_": "0"}
KEEPS_MEMORY |= {"MALLOC_ARENA_MAX": "1", "MALLOC_TOP_PAD_": str(2**28)}

# After a product NumPy's OpenBLAS keeps its threads awake for 120 ms, in which nobody else may be timed. With
# 2^24 cycles, 7 ms, a step, whose products follow each other closer, finds them awake as before.
# https://github.com/OpenMathLib/OpenBLAS/blob/develop/Makefile.rule (THREAD_TIMEOUT)
SOON_IDLE = {"OPENBLAS_THREAD_TIMEOUT": "24"}

# The first so that cuBLAS answers alike from run to run (https://docs.nvidia.com/cuda/cublas/#results-reproducibility),
# the second so that a number means the same card to CUDA and to nvidia-smi (gpu.py).
GPU = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
# TensorFlow's exceptions do not say why cuDNN refused: its error log does.
# https://github.com/tensorflow/tensorflow/issues/41630
GPU |= {"TF_CPP_MIN_LOG_LEVEL": "2"}

# Where memory is measured: XLA else takes three quarters of the card at once, whatever the row.
AS_NEEDED = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}

DESCRIBE_TIMEOUT_S = 300  # a framework's first import reads hundreds of megabytes from a cold disk


@dataclass(frozen=True)
class Environment:
    """An interpreter that holds an implementation's framework."""

    impl: str  # a name or a path, as --impl takes it
    python: str
    device: str
    threads: int

    def variables(self, timed: bool = False) -> dict[str, str]:
        """Threads and noise, set before any import; what else is set already stays. Where memory is
        measured and not time, the allocator is left as it is."""
        n = str(self.threads)
        pools = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
        fixed = {"PYTHONHASHSEED": "0", "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"}
        fixed |= {"KERAS_BACKEND": "tensorflow"}
        gpu = GPU | ({} if timed else AS_NEEDED) if self.device == "gpu" else {}
        fixed |= KEEPS_MEMORY | SOON_IDLE if timed else {}
        # A child is a run of its own: pytest-benchmark times nothing where it reads that it is a worker.
        inherited = {k: value for k, value in os.environ.items() if not k.startswith("PYTEST_XDIST_")}
        return inherited | fixed | gpu | dict.fromkeys(pools, n)

    def command(self, *arguments: str) -> list[str]:
        """The command line for ``python <arguments>`` about this implementation."""
        return [self.python, *arguments, "--impl", self.impl, "--device", self.device]

    def start(self, *arguments: str, output: IO[str], more: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start what will be timed, ``more`` in its environment, and do not wait."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=ROOT,
            env=self.variables(timed=True) | dict(more),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def run(self, *arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
        """Run and wait, output kept; the parent sleeps meanwhile. Raises subprocess.TimeoutExpired."""
        return subprocess.run(
            self.command(*arguments),
            cwd=ROOT,
            env=self.variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )

    def stream(self, *arguments: str, timed: bool = False) -> int:
        """Run with the output going where ours goes; the exit code."""
        return subprocess.run(
            self.command(*arguments), cwd=ROOT, env=self.variables(timed), check=False
        ).returncode

    def describe(self) -> dict[str, Any]:
        """``{"origin": provenance}``, or ``{"reason": why it cannot run here}``."""
        try:
            done = self.run("-m", "suites.bench.describe", timeout=DESCRIBE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return {"reason": f"{self.python} did not answer within {DESCRIBE_TIMEOUT_S} s"}
        except OSError as error:
            raise UserError(f"--python {self.impl}={self.python}: {error.strerror}.") from None
        lines = done.stdout.strip().splitlines()
        if done.returncode != 0 or not lines or not lines[-1].startswith("{"):
            return {"reason": f"{self.python}: exit code {done.returncode}: {tail(done.stdout)}"}
        found: dict[str, Any] = json.loads(lines[-1])
        return found


def tail(output: str, lines: int = 12) -> str:
    """What a child says of its end: pytest's error lines where there are some, else the last lines."""
    every = output.strip().splitlines()
    errors = [line.removeprefix("E").strip() for line in every if line.startswith("E  ")]
    return "\n".join((errors or every)[-lines:])


def interpreters(pairs: list[str]) -> dict[str, str]:
    """``NAME=EXECUTABLE`` pairs as a dict. Raises UserError."""
    found = {}
    for pair in pairs:
        name, sign, python = pair.partition("=")
        if not sign or not name or not Path(python).is_file():
            raise UserError(f"--python {pair}: expected NAME=EXECUTABLE with an existing executable.")
        found[name] = python
    return found
