"""Principal components by the singular value decomposition, with a sign that rounding cannot turn."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from suites.interface import Array


class Components(NamedTuple):
    """The first components of a cloud of n points."""

    coordinates: Array  # [n, count] of each point
    explained: Array  # [count], shares of the whole variance
    axes: Array  # [count, H], orthonormal


def components(points: Array, count: int) -> Components:
    """The first ``count`` principal components of ``points`` [n, H], in float64.

    X - mean = U S V^T; the axes are the first rows of V^T, each turned so that :func:`oriented` holds,
    the coordinates (X - mean) V, the shares S^2 / sum S^2 (Pearson 1901).
    """
    centred = points.astype(np.float64) - points.astype(np.float64).mean(axis=0)
    _, spread, axes = np.linalg.svd(centred, full_matrices=False)
    axes = oriented(axes[:count])
    return Components(centred @ axes.T, spread[:count] ** 2 / (spread**2).sum(), axes)


def oriented(axes: Array) -> Array:
    """Each axis, of whose two signs the decomposition picks either, with its largest entry positive."""
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)  # [count, 1]
    turned: Array = axes * np.where(largest < 0, -1.0, 1.0)
    return turned
