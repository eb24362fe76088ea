"""An order of hidden units in which those that are active together stand together."""

import numpy
from numpy.typing import NDArray

SMALL = 1e-12


def order_of(hidden: NDArray[numpy.floating]) -> list[int]:
    """Places of the units of `hidden`, [.., units], by the second eigenvector of the Laplacian of their correlations.

    It is the smoothest order there is (spectral seriation): alike units have near numbers in it. Units that never move
    come last.

    Paper: Atkins, Boman, Hendrickson 1998, https://doi.org/10.1137/S0097539795285771.
    """
    rows = hidden.reshape(-1, hidden.shape[-1]).astype(numpy.float64)
    rows = rows - rows.mean(0)
    size = numpy.sqrt((rows**2).sum(0))
    moving = numpy.flatnonzero(size > SMALL)
    still = numpy.flatnonzero(size <= SMALL)
    if len(moving) < 3:
        return [*moving.tolist(), *still.tolist()]
    unit = rows[:, moving] / size[moving]
    alike = 1 + unit.T @ unit
    degrees = numpy.sqrt(alike.sum(0))
    _, vectors = numpy.linalg.eigh(numpy.eye(len(moving)) - alike / numpy.outer(degrees, degrees))
    second = vectors[:, 1] / degrees
    second = second if second[numpy.abs(second).argmax()] > 0 else -second  # its sign is left open
    return [*moving[numpy.argsort(second, kind="stable")].tolist(), *still.tolist()]
