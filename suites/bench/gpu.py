"""What the driver says of the GPU: who else works on it, how fast and how warm it runs, what slows it.

Asked of ``nvidia-smi``, which every driver brings: the process that watches holds no framework. The GPU is
the one that a framework takes: the first that ``CUDA_VISIBLE_DEVICES`` names, numbered as nvidia-smi numbers
them (``CUDA_DEVICE_ORDER``, which ``environments.py`` sets). Fields: ``nvidia-smi --help-query-gpu``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time

from results.errors import UserError


class Busy(UserError):
    """Another process works on the GPU: not now, but perhaps later."""


TOOL = "nvidia-smi"
ANSWER_S = 20.0  # it answers within seconds; a hung driver must not hang us

NUMBERS = {  # of a sample: what nvidia-smi calls it, without units
    "sm_mhz": "clocks.sm",
    "memory_mhz": "clocks.mem",
    "temperature_c": "temperature.gpu",
    "power_w": "power.draw",
    "memory_used_mib": "memory.used",
}
REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")  # its name now, and formerly

# Bits of the reasons, of nvml.h's nvmlClocksEventReason*. That it idles (1), or that its owner chose a lower
# clock (2, 16, 256), slows nobody unforeseen.
SLOWED = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "heat (driver)",
    0x40: "heat (hardware)",
    0x80: "power brake",
}

# The microseconds of these so far, where the driver counts them: the card works between two samples, and
# idles at each of them.
COUNTERS = {
    "power cap": "clocks_event_reasons_counters.sw_power_cap",
    "heat (driver)": "clocks_event_reasons_counters.sw_thermal_slowdown",
    "heat (hardware)": "clocks_event_reasons_counters.hw_thermal_slowdown",
    "power brake": "clocks_event_reasons_counters.hw_power_brake_slowdown",
}

BUSY_PERCENT = 10  # of the last second in which a kernel ran: a desktop that is only shown takes a few
CONTEXT_MIB = (
    256  # no kernel without a context, which takes more. A driver that woke up to answer shows use, too
)
LEAVES_S, LOOK_S = 10.0, 0.5  # that a process of ours which has ended may still be listed; how often to look


def answers() -> bool:
    """Whether there is somebody to ask: not of a GPU that is none of NVIDIA's."""
    return shutil.which(TOOL) is not None


def chosen() -> str:
    """What nvidia-smi is to call the GPU that a framework takes first."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0].strip() or "0"


def sample() -> dict[str, float | list[str] | None]:
    """Clocks, temperature, power, memory in use, and ``slowed``: what holds the clocks down now.

    None is what this driver does not say. Raises UserError where there is no driver.
    """
    for reasons in REASONS:
        fields = [*NUMBERS.values(), reasons]
        answer = ask(f"--query-gpu={','.join(fields)}")
        if answer is not None:
            break
    else:
        raise UserError(missing())
    *numbers, mask = [part.strip() for part in answer.splitlines()[0].split(",")]
    found: dict[str, float | list[str] | None] = {
        name: number(text) for name, text in zip(NUMBERS, numbers, strict=True)
    }
    bits = int(mask, 16) if mask.startswith("0x") else None
    found["slowed"] = None if bits is None else [text for bit, text in SLOWED.items() if bits & bit]
    return found


def slowed_so_far() -> dict[str, float]:
    """Microseconds by reason, since the driver was loaded; nothing where it does not count them."""
    answer = ask(f"--query-gpu={','.join(COUNTERS.values())}")
    counts = map(number, answer.splitlines()[0].split(",")) if answer else ()
    return {reason: count for reason, count in zip(COUNTERS, counts, strict=False) if count is not None}


def number(text: str) -> float | None:
    """None of what is none: "[N/A]", "[Not Supported]", "[Insufficient Permissions]" and more."""
    try:
        return float(text)
    except ValueError:
        return None


def check_free() -> None:
    """Raise Busy where another process works on the GPU: times would be of both. UserError as ``sample``.

    To be called while no process of ours does.
    """
    until = time.monotonic() + LEAVES_S
    while who := others():
        if time.monotonic() > until:
            raise Busy(
                f"GPU {chosen()}: expected it for ourselves, got {who}. Times would be of both: wait until "
                "it is free, or choose another card by CUDA_VISIBLE_DEVICES (nvidia-smi lists them)."
            )
        time.sleep(LOOK_S)


def others() -> str:
    """Who works on the GPU; nothing where nobody does. A container may not see who, but that it is busy."""
    listed, busy = (
        ask("--query-compute-apps=pid,process_name,used_memory"),
        ask("--query-gpu=utilization.gpu,memory.used"),
    )
    if listed is None or busy is None:
        raise UserError(missing())
    if listed:
        return "; ".join(f"process {line}" for line in listed.splitlines())
    percent, mib = (number(part) for part in busy.splitlines()[0].split(","))
    if percent is not None and percent > BUSY_PERCENT and (mib is None or mib > CONTEXT_MIB):
        return f"kernels in {percent:g} % of the last second, of a process that cannot be seen from here"
    return ""


def missing() -> str:
    """What to do where nvidia-smi does not answer."""
    return (
        f"GPU {chosen()}: expected {TOOL} to answer, got nothing. Without it nobody can say whether the GPU "
        f"is free or slowed down: run `{TOOL}` to see why, or time the CPU (--device cpu)."
    )


def ask(query: str) -> str | None:
    """What nvidia-smi says of the chosen GPU, as lines; None where it is absent, fails or hangs."""
    command = [TOOL, f"--id={chosen()}", query, "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
