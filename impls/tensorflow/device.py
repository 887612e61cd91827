"""Threads, precision, versions and the matrix-product floor of TensorFlow."""

import gc
import os
import re
import sys
from collections import Counter
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from suites.interface import Unavailable

PACKAGES = ("tensorflow", "tensorflow-cpu", "keras", "numpy")
CUDA = ("nvidia-cudnn", "nvidia-cublas")  # how the names of the packages begin that hold cuDNN and cuBLAS

WAITS = re.compile("::|BlockUntilReady")  # of what a profile holds: no operation

DEVICES = {"cpu": "/CPU:0", "gpu": "/GPU:0"}
MIXED = "mixed_bfloat16"  # Keras' policy: variables in float32, all that is computed of them in bfloat16
NARROW = {"tf32": "float32", "bf16": "bfloat16"}
AMPERE = (8, 0)  # the first that has either; before it the switch below would be set, and change nothing


def find(device):
    """TensorFlow's name of the device."""
    if device not in DEVICES:
        raise Unavailable(f"device: expected one of {', '.join(DEVICES)}, got {device!r}")
    if device == "gpu" and not tf.config.list_physical_devices("GPU"):
        raise Unavailable(
            "device 'gpu': expected a GPU that TensorFlow sees, got none. "
            "Install tensorflow[and-cuda] and a driver (nvidia-smi must name the card), or choose the CPU. "
            "TensorFlow says why not where it may: TF_CPP_MIN_LOG_LEVEL=0 python -c "
            "'import tensorflow; tensorflow.config.list_physical_devices()'"
        )
    return DEVICES[device]


def configure(device: str, threads: int) -> dict[str, str]:
    """Set threads (0: TensorFlow chooses), full float32 precision and the devices that TensorFlow may
    use, and say what was read back. GPU memory is taken as it is needed, not all at once."""
    find(device)
    gpus = tf.config.list_physical_devices("GPU")
    visible = gpus[:1] if device == "gpu" else []
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        # One: a recurrence is a chain, and a step at size small took as long or longer with two.
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.set_visible_devices(visible, "GPU")
        for gpu in visible:
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError as error:
        raise RuntimeError(
            f"expected to set {threads} threads and device {device!r} before TensorFlow's first operation, "
            f"got a runtime that has begun ({error}). Call configure first, in a fresh process"
        ) from error
    products = precise("float32", device)
    # Many networks in one process trace the same methods: TensorFlow warns as if one were retraced.
    tf.get_logger().setLevel("ERROR")
    with tf.device(DEVICES[device]):
        subnormal = tf.constant(np.finfo(np.float32).tiny) * 0.5
    settings = {
        "threads": str(tf.config.threading.get_intra_op_parallelism_threads()),
        "inter_op_threads": str(tf.config.threading.get_inter_op_parallelism_threads()),
        **products,
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        "denormals": "kept" if subnormal.numpy() else "flushed",
        "visible_gpus": str(len(tf.config.get_visible_devices("GPU"))),
    }
    for gpu in visible:
        build = tf.sysconfig.get_build_info()
        settings |= {
            "memory_growth": str(tf.config.experimental.get_memory_growth(gpu)),
            "built_for_cuda": str(build.get("cuda_version")),
            "built_for_cudnn": str(build.get("cudnn_version")),
            "libraries": _libraries(),
        }
    return settings


def _libraries():
    """Packages of cuDNN and cuBLAS, with their versions."""
    found = {
        str(each.name): each.version for each in metadata.distributions() if str(each.name).startswith(CUDA)
    }
    return ", ".join(f"{name} {found[name]}" for name in sorted(found)) or "in no package"


def precise(dtype: str, device: str) -> dict[str, str]:
    """Set what products of float32 are rounded to, and say what was read back: TF32 by TensorFlow's switch;
    bfloat16 by Keras' policy, in which the networks of this folder then compute."""
    if dtype == "tf32" and device == "cpu":
        raise Unavailable("expected a GPU for TF32, got the CPU: ask for bf16, or for --device gpu")
    if dtype in NARROW and device == "gpu" and (able := _capability()) < AMPERE:
        raise Unavailable(
            f"expected for {dtype} a GPU of compute capability {AMPERE[0]}.0 or later, got "
            f"{'.'.join(map(str, able))}: ask for float32"
        )
    tf.config.experimental.enable_tensor_float_32_execution(dtype == "tf32")
    if dtype == "bf16" or "keras" in sys.modules:  # which takes a second to import, and starts in float32
        tf.keras.config.set_dtype_policy(MIXED if dtype == "bf16" else "float32")
    settings = {"tf32": "on" if tf.config.experimental.tensor_float_32_execution_enabled() else "off"}
    return settings | ({"policy": MIXED} if policy("float32") == MIXED else {})


def _capability():
    """Compute capability of the first GPU; of one that has none, enough."""
    details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
    return details.get("compute_capability", AMPERE)


def policy(dtype):
    """Keras' policy for a network whose variables are of this dtype."""
    mixed = "keras" in sys.modules and tf.keras.config.dtype_policy().name == MIXED
    return MIXED if mixed and dtype == "float32" else dtype


def computes(dtype):
    """The dtype in which a network computes whose variables are of this one."""
    return tf.dtypes.as_dtype("bfloat16" if policy(dtype) == MIXED else dtype)


def floor(products: list[tuple[int, int, int, int]], dtype: str, device: str) -> Callable[[], None]:
    """A function that runs just these products: (repeat, m, k, n) is repeat times [m, k] @ [k, n]."""
    where, dtype = find(device), NARROW.get(dtype, dtype)
    with tf.device(where):
        operands = [(tf.ones((repeat, m, k), dtype), tf.ones((k, n), dtype)) for repeat, m, k, n in products]

    # XLA: the executor of a plain tf.function adds 5 to 10 us to each turn of a loop.
    # A left operand of its own for each product, and the result handed from turn to turn:
    # no product can be moved out of the loop, dropped, or merged with another. On a GPU the reading of a[t]
    # may be a kernel of its own, which makes this floor higher than products alone; TensorFlow has no
    # barrier that would do without.
    @tf.function(jit_compile=True)
    def in_turn(a, b):
        out = tf.zeros((a.shape[1], b.shape[1]), dtype)
        for t in tf.range(a.shape[0]):
            out = a[t] @ b
        return out

    # One large product alone: oneDNN's took down to 3/4 of the time of XLA's.
    @tf.function
    def multiply(operands):
        return [a[0] @ b if a.shape[0] == 1 else in_turn(a, b) for a, b in operands]

    multiply = multiply.get_concrete_function(operands)  # spares each call 0.1 ms of looking it up

    def run():
        with tf.device(where):
            multiply(operands)

    return run


def copy(size: int, device: str) -> Callable[[], None]:
    """A function that moves so many bytes in the GPU's memory, half read and half written."""
    where = find(device)
    with tf.device(where):
        source = tf.ones(size // 2, tf.uint8)

    def run():
        with tf.device(where):
            tf.bitwise.invert(source)

    return run


def wait(answer: Any) -> None:
    """Return once the products or the copy are done."""
    tf.test.experimental.sync_devices()


def profile(call: Callable[[], None]) -> dict[str, float]:
    """Seconds of a call by operation, in all threads and without those inside it, on a GPU by kernel. What
    runs and awaits them is left out."""
    with TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        call()
        tf.profiler.experimental.stop()
        (path,) = Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(path.read_bytes())
    gpus = [plane for plane in space.planes if "GPU" in plane.name]
    if tf.config.get_visible_devices("GPU") and not gpus:
        raise RuntimeError(
            "expected TensorFlow's profiler to see the GPU, got the CPU alone: CUPTI is not to be had"
        )
    seconds: Counter[str] = Counter()
    for plane in gpus or space.planes:
        names = {number: about.name for number, about in plane.event_metadata.items()}
        for line in plane.lines:
            if not gpus or line.name.startswith("Stream"):
                seconds += own(
                    (event.offset_ps / 1e3, event.duration_ps / 1e3, names[event.metadata_id])
                    for event in line.events
                )
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
    """How often the tf.functions that there are have been traced so far. What XLA compiles for another
    size of a dimension that the trace left open is not seen."""
    kind = type(tf.function(compilations))
    return sum(found.experimental_get_tracing_count() for found in gc.get_objects() if type(found) is kind)


def peak_memory(device: str) -> dict[str, int]:
    """The peak of TensorFlow's GPU allocator in bytes; its CPU allocator keeps none."""
    if device == "cpu":
        return {}
    return {"allocated_bytes": tf.config.experimental.get_memory_info("GPU:0")["peak"]}
