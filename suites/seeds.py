"""Every random draw of the project comes from here: NumPy's PCG64, from named seeds.

Only uniform doubles are drawn. NumPy promises no stability for its other
distributions (NEP 19), so whatever else is needed (integers, permutations,
weights) is made from uniforms by exact arithmetic, and the same name gives the
same bytes in every environment.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def generator(seed: int, *names: str) -> np.random.Generator:
    """A generator of its own for each (seed, names): adding a draw moves no other."""
    text = "/".join([str(seed), *names])
    digest = hashlib.sha256(text.encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def uniform(rng: np.random.Generator, low: float, high: float, shape: tuple[int, ...]) -> Floats:
    """U[low, high), shape ``shape``."""
    return low + (high - low) * rng.random(shape)


def integers(rng: np.random.Generator, low: int, high: int, shape: tuple[int, ...]) -> Integers:
    """Integers in [low, high), shape ``shape``, by flooring uniforms."""
    return low + np.floor((high - low) * rng.random(shape)).astype(np.int64)


def permutation(rng: np.random.Generator, n: int) -> Integers:
    """A permutation of 0..n-1, by sorting uniforms."""
    return np.argsort(rng.random(n), kind="stable")


def digest(*arrays: npt.NDArray[np.generic]) -> str:
    """SHA-256 over the bytes, shapes and dtypes of the arrays, in order."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype.str}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()
