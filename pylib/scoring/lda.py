"""Linear discriminant analysis: directions that tell speakers apart, spread within them made 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import linalg

from pylib.corpus.errors import UserError

Matrix = npt.NDArray[np.float64]
RIDGE = 1e-6  # of the mean spread within classes: directions that do not vary stay finite


def fit_lda(matrix: Matrix, labels: Sequence[str], dim: int) -> Matrix:
    """Projection of the Fisher criterion, best direction first.

    Args:
        matrix: (N, D), one row an utterance.
        labels: class of each row.
        dim: directions wanted; no more than D and the number of classes - 1 are kept.

    Returns:
        (D, d): after `x @ projection` the covariance within classes is the identity.

    Raises:
        UserError: fewer than two classes, or no class with two members.
    """
    names, index = np.unique(np.asarray(labels), return_inverse=True)
    counts = np.bincount(index)
    if len(names) < 2 or counts.max() < 2:
        raise UserError(
            f"{len(names)} speakers with at most {counts.max()} utterances each: LDA needs two "
            "speakers and two utterances of one: give more training data"
        )
    means = np.zeros((len(names), matrix.shape[1]))
    np.add.at(means, index, matrix)
    means /= counts[:, None]
    inner = matrix - means[index]
    within = inner.T @ inner / len(matrix)
    outer = (means - matrix.mean(axis=0)) * np.sqrt(counts / len(matrix))[:, None]
    between = outer.T @ outer
    spread = np.trace(within) / len(within)
    within += np.eye(len(within)) * (RIDGE * spread if spread > 0 else 1.0)
    _, vectors = linalg.eigh(between, within)
    best: Matrix = vectors[:, ::-1][:, : min(dim, len(names) - 1)]
    return best
