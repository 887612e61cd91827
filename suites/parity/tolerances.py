"""The constants of the gate, read from ``tolerances.toml`` beside this file, and the rules they enter."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from suites.precision import DECLARED, roundoff

_FILE = Path(__file__).with_suffix(".toml")
_RAW = tomllib.loads(_FILE.read_text(encoding="utf-8"))

DRAWS: int = _RAW["conditioning"]["draws"]
KAPPA_LIMIT: float = _RAW["conditioning"]["limit"]
MARGIN: float = _RAW["decoding"]["factor"]
OPTIMISER_STEPS: int = _RAW["trajectory"]["optimiser_steps"]
STEPS: int = _RAW["trajectory"]["steps"]
HORIZON: float = _RAW["trajectory"]["horizon"]
DECLARED_HORIZON: float = _RAW["trajectory"]["declared_horizon"]
CALIBRATION_MARGINS: dict[str, float] = _RAW["calibration"]  # by table


@dataclass(frozen=True)
class Tolerance:
    """The largest relative error that passes, and where it comes from."""

    value: float
    origin: str


Rule = Callable[[str], Tolerance]
"""The tolerance of a tensor, by its name."""


def table(dtype: str) -> str:
    """The table of the file that holds a dtype's constants."""
    return "declared" if dtype in DECLARED else dtype


def constant(name: str) -> float:
    """A constant by its name in the file: ``float64.roundoffs``."""
    of, key = name.split(".")
    return float(_RAW[of][key])


def conditioned(kappa: dict[str, float], constant: str = "roundoffs") -> Rule:
    """float64: levels 1 to 3 and 7 (``roundoffs``), 4 and 5 (``training``): constant x u x kappa, with
    the tensor's own measured kappa."""
    factor, u = _RAW["float64"][constant], roundoff("float64")

    def rule(name: str) -> Tolerance:
        k = max(1.0, kappa[name])
        return Tolerance(factor * u * k, f"{factor} u kappa, u = {u:.1e}, kappa = {k:.3g}")

    return rule


def beside_oracle(errors: dict[str, float], dtype: str = "float32", constant: str = "factor") -> Rule:
    """float32, levels 1 to 4 and 7 (``factor``), 5 (``trajectory``): constant x the oracle's own float32
    error on this tensor + roundoffs x u.

    Of a declared precision the same with its own u: to first order an error grows as the unit roundoff.
    """
    factor, plus, u = *(_RAW[table(dtype)][key] for key in (constant, "roundoffs")), roundoff(dtype)
    scale = coarser(dtype)
    scaled = "" if scale == 1 else f" x {scale:g} of {dtype}"

    def rule(name: str) -> Tolerance:
        return Tolerance(
            factor * errors[name] * scale + plus * u,
            f"{factor} x the oracle's float32 error {errors[name]:.1e}{scaled} + {plus} u, u = {u:.1e}",
        )

    return rule


def coarser(dtype: str) -> float:
    """The unit roundoff over float32's."""
    return roundoff(dtype) / roundoff("float32")


def limit(dtype: str) -> float:
    """The error of the oracle, to the row's precision, past which a trajectory says nothing more."""
    return HORIZON if dtype == "float32" else DECLARED_HORIZON
