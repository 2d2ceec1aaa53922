"""Rows that were written down several times: they look like draws and tell nothing new.

Draws of a density are never equal, and draws of atoms are so on both sides. Many rows that one side
has two to five times and the other never are neither: a bootstrap, a join gone wrong, a chain that
stood still.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kullback.samples.draws import Draws, DrawsPair

__all__ = ["copied_share", "without_copies"]

_FEW = 5
"""An atom of a discrete law is met more often than that, or by the other side too."""


def copied_share(pair: DrawsPair) -> float:
    """The share of draws that look like copies, of the side that has more of them.

    0 where a fifth of the ties are shared by both sides: then the data are discrete.
    """
    atoms = pair.atoms
    found = []
    for own, other in ((atoms.of_p, atoms.of_q), (atoms.of_q, atoms.of_p)):
        small = (own > 1) & (own <= _FEW)
        alone = own[small & (other == 0)].sum()
        shared = own[(own > 0) & (other > 0) & (own + other <= _FEW)].sum()
        found.append(float(alone / own.sum()) if shared < alone / 4 else 0.0)
    return max(found)


def without_copies(pair: DrawsPair) -> DrawsPair:
    """The same with each row once on each side."""
    atoms = pair.atoms
    kept = [np.unique(codes, return_index=True)[1] for codes in (atoms.x, atoms.y)]
    sides: list[Draws] = [
        side[np.sort(rows)] for side, rows in zip((pair.p, pair.q), kept, strict=True)
    ]
    return replace(pair, p=sides[0], q=sides[1])
