"""Threads, precision, versions and the matrix-product floor of JAX."""

import os
import re
from collections import Counter
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from suites.interface import Unavailable

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "jax-cuda12-plugin", "jax-cuda13-plugin")
CUDA = ("nvidia-cudnn", "nvidia-cublas")  # how the names of the packages begin that hold cuDNN and cuBLAS

WORKER = "tf_XLAEigen"  # what XLA calls the threads of its CPU pool
THREADS = "tf_XLA"  # and how the names of all its threads begin
WAITS = re.compile("::|^end: ")  # of what a profile of a CPU holds: no operation
COMPILE = "/jax/core/compile/backend_compile_duration"  # jax.monitoring's event, one a compilation
COMPILED: list[float] = []  # seconds of each
KEPT = 2**30  # bytes of compiled programs; those of 12 rows are 5 MB
# Of a product of float32: named, so that XLA refuses what a device cannot do. Ampere is the first that can.
AMPERE = (8, 0)
ALGORITHMS = {"tf32": "TF32_TF32_F32", "bf16": "BF16_BF16_F32"}


def _listen(event, seconds, **_):
    if event == COMPILE:
        COMPILED.append(seconds)


jax.monitoring.register_event_duration_secs_listener(_listen)


def find(device):
    """JAX's first device of that kind; raises Unavailable where there is none."""
    try:
        return jax.devices(device)[0]
    except RuntimeError as error:
        raise Unavailable(
            f"device {device!r}: expected one that JAX can use, got none ({error}). For a GPU install "
            "locks/jax-gpu.txt, check that nvidia-smi names the card, or choose the CPU"
        ) from None


def configure(device: str, threads: int) -> dict[str, str]:
    """Set threads (0: as they are) and precision, and say what was read back.

    XLA sizes its CPU pool by PJRT_NPROC, once, when the first device is asked for. The older
    ``XLA_FLAGS=--xla_cpu_multi_thread_eigen=false`` limits nothing: jaxlib 0.10.2 still ran on 2 cores.
    """
    if threads:
        os.environ["PJRT_NPROC"] = str(threads)
    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")  # else a GPU's memory is taken for nothing
    products = precise("float32", device)
    where = find(device)
    tiny = jax.device_put(np.finfo(np.float32).tiny, where)
    settings = {
        "threads": _pool() or f"{threads} asked, cannot be read back here",
        **products,
        "denormals": "kept" if jax.jit(lambda x: x * 0.5)(tiny) else "flushed",
        "xla_flags": os.environ.get("XLA_FLAGS", "none"),
    }
    if device == "gpu":
        settings |= {
            "platform": " ".join(where.client.platform_version.split()),
            "preallocation": _set("XLA_PYTHON_CLIENT_PREALLOCATE", default="true"),
            "memory_fraction": _set(
                "XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION", default="0.75"
            ),
            "libraries": _libraries(),
            "allocator": _set("XLA_PYTHON_CLIENT_ALLOCATOR", default="default"),
        }
    return settings


def _libraries():
    """Packages of cuDNN and cuBLAS, with their versions."""
    found = {
        str(each.name): each.version for each in metadata.distributions() if str(each.name).startswith(CUDA)
    }
    return ", ".join(f"{name} {found[name]}" for name in sorted(found)) or "in no package"


def _set(*names, default):
    """What the first of these variables that is set says, of one setting: jaxlib renames them."""
    return next((os.environ[name] for name in names if name in os.environ), f"{default} (default)")


def keep_compiled(folder: Path) -> None:
    """Keep what XLA compiles in the folder, the least used thrown away, and read from it what was compiled.

    JAX's key holds the program, its options and jaxlib's version. A file cut short by a kill is told by a
    warning, and compiled again.
    """
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", KEPT)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def precise(dtype: str, device: str) -> dict[str, str]:
    """Set what products of float32 are rounded to, and say what was read back."""
    if dtype in ALGORITHMS and device == "cpu":  # jaxlib 0.10.2 takes the name, and reckons in float32
        raise Unavailable(f"expected a GPU for {dtype}, got the CPU, where XLA does not round: --device gpu")
    if dtype in ALGORITHMS and (able := _capability(device)) < AMPERE:
        raise Unavailable(
            f"expected for {dtype} a GPU of compute capability {AMPERE[0]}.0 or later, got "
            f"{'.'.join(map(str, able))}: ask for float32"
        )
    jax.config.update("jax_default_matmul_precision", ALGORITHMS.get(dtype, "highest"))
    return {"matmul_precision": jax.config.jax_default_matmul_precision}


def _capability(device):
    """Compute capability of the first GPU; of one that has none, enough."""
    told = str(getattr(find(device), "compute_capability", ""))
    return tuple(map(int, told.split("."))) if re.fullmatch(r"\d+\.\d+", told) else AMPERE


def rounds_to() -> str:
    """The declared precision that is set, or nothing."""
    asked = jax.config.jax_default_matmul_precision
    return next((dtype for dtype, algorithm in ALGORITHMS.items() if algorithm == asked), "")


def _pool():
    """The threads of XLA's CPU pool, counted by name; empty where the system does not show them."""
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    return str(names.count(WORKER)) if WORKER in names else ""


def floor(products: list[tuple[int, int, int, int]], dtype: str, device: str) -> Callable[[], Any]:
    """A function that begins just these products: (repeat, m, k, n) is repeat times [m, k] @ [k, n]."""
    jax.config.update("jax_enable_x64", True)
    # Each right operand averages, so that every number stays 1 however often it goes round.
    dtype = {"tf32": "float32", "bf16": jnp.bfloat16}.get(dtype, dtype)
    operands = [(np.ones((m, k), dtype), np.full((k, n), 1 / k, dtype)) for _, m, k, n in products]
    operands = jax.device_put(operands, find(device))

    @jax.jit
    def multiply(operands):
        outs: list = []
        for (repeat, *_), (a, b) in zip(products, operands, strict=True):
            if outs:
                a = a.at[0, 0].set(outs[-1][0, 0])
            outs.append(_in_turn(repeat, a, b))
        return outs

    wait(multiply(operands))  # compiles
    return lambda: multiply(operands)


def _in_turn(repeat, a, b):
    """a @ b, repeat times. Behind a barrier a is another at each turn, for all that XLA knows: it can move
    no product out of the loop. A number of the product written into a would do so too, by a kernel of its
    own on a GPU, which is no product."""

    def product(_, carry):
        a, _ = carry
        return jax.lax.optimization_barrier((a, a @ b))

    first = jnp.zeros((a.shape[0], b.shape[1]), a.dtype)
    return jax.lax.fori_loop(0, repeat, product, (a, first))[1]


def copy(size: int, device: str) -> Callable[[], Any]:
    """A function that begins to move so many bytes in the GPU's memory, half read and half written."""
    source = jax.device_put(np.ones(size // 2, np.uint8), find(device))
    moved = jax.jit(jnp.bitwise_not)  # a plain copy might be dropped
    wait(moved(source))  # compiles
    return lambda: moved(source)


def wait(answer: Any) -> None:
    """Return once the products or the copy are done; a device runs what it is given in order."""
    jax.block_until_ready(answer)


def profile(call: Callable[[], None]) -> dict[str, float]:
    """Seconds of a call by what XLA made of it: on a CPU its operations, in all of its threads and without
    those inside them, on a GPU the kernels. What runs and awaits them is left out."""
    with TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            call()
        (path,) = Path(folder).rglob("*.xplane.pb")
        planes = [*jax.profiler.ProfileData.from_file(str(path)).planes]
    gpus = [plane for plane in planes if "GPU" in plane.name]
    if jax.default_backend() == "gpu" and not gpus:
        raise RuntimeError(
            "expected XLA's profiler to see the GPU, got the CPU alone: CUPTI is not to be had"
        )
    seconds: Counter[str] = Counter()
    for plane in gpus or planes:
        for line in plane.lines:
            if line.name.startswith("Stream" if gpus else THREADS):
                seconds += own((event.start_ns, event.duration_ns, event.name) for event in line.events)
    return {name: took for name, took in seconds.items() if gpus or not WAITS.search(name)}


def own(events):
    """Seconds by name of a thread's events (start, duration, name), in nanoseconds, without those inside."""
    seconds: Counter[str] = Counter()
    around: list = []
    for start, duration, name in sorted(events, key=lambda event: (event[0], -event[1])):
        while around and start >= around[-1][0]:
            around.pop()
        if around:
            seconds[around[-1][1]] -= 1e-9 * duration
        around.append((start + duration, name))
        seconds[name] += 1e-9 * duration
    return seconds


def compilations() -> int:
    """What XLA has compiled so far: jitted functions, and single operations outside of them."""
    return len(COMPILED)


def peak_memory(device: str) -> dict[str, int]:
    """What the allocator of a GPU says of itself, in bytes; that of a CPU says nothing."""
    if device == "cpu":
        return {}
    stats = find(device).memory_stats() or {}
    wanted = ("peak_bytes_in_use", "bytes_in_use", "peak_pool_bytes", "pool_bytes", "bytes_limit")
    return {name: int(stats[name]) for name in wanted if name in stats}
