"""Contrastive terms over labelled vectors: same label near, other labels far.

Each takes vectors (B, D) float32 and labels and gives the mean loss over the anchors that have a
positive, (), with the number of those anchors, (). Without any the loss is 0 and has a zero
gradient. A vector is never compared with itself.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylib.nn.gaussian import Z2_VARIANCE

_HIDDEN = -1e9  # a masked similarity: gone after exp, without the NaN of inf - inf
_EPS = 1e-6  # least norm of a vector in a cosine
_MARGIN = 0.2  # of the triplet loss, in cosine distance


def unit(x: Tensor) -> Tensor:
    """Rows of x (B, D) scaled to norm 1, or to less where the norm is below 1e-6."""
    return F.normalize(x, dim=1, eps=_EPS)


def pairs(labels: Tensor, groups: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Which vectors an anchor is compared with, and which of those are positives.

    Args:
        labels: (B,) int64; equal labels are positives.
        groups: (B,) int64 or None; vectors of the anchor's own group are left out altogether.

    Returns:
        (B, B) bool candidates, (B, B) bool positives, a subset of them.
    """
    own = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    if groups is not None:
        own = own | (groups[:, None] == groups[None, :])
    return ~own, (labels[:, None] == labels[None, :]) & ~own


def supcon(similarity: Tensor, candidates: Tensor, positives: Tensor) -> tuple[Tensor, Tensor]:
    """Supervised contrastive loss, the form with the logarithm inside the mean (arXiv 2004.11362).

    similarity: (B, B), already divided by the temperature; masks as `pairs` gives them.
    """
    scores = similarity.masked_fill(~candidates, _HIDDEN)
    log_probs = scores - scores.logsumexp(1, keepdim=True)
    number = positives.sum(1)
    each = -torch.where(positives, log_probs, 0.0).sum(1) / number.clamp_min(1)
    return _mean(each, number > 0)


def _mean(each: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of each (B,) where used (B,) bool, 0 if nowhere; and how many are used."""
    count = used.sum()
    return torch.where(used, each, 0.0).sum() / count.clamp_min(1), count


def cosines(x: Tensor, temperature: float) -> Tensor:
    """(B, B) cosines of rows of x (B, D) over the temperature."""
    v = unit(x)
    return v @ v.t() / temperature


def neighbour_scores(x: Tensor) -> Tensor:
    """(B, B) of -|x_i - x_j|^2 / (2 * 0.25): FHVAE's own metric."""
    squares = x.square().sum(1)
    distance = (squares[:, None] + squares[None, :] - 2 * x @ x.t()).clamp_min(0)
    return -distance / (2 * Z2_VARIANCE)


def group_means(x: Tensor, labels: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of x (B, D) over each distinct group, (G, D), and the groups' labels (G,)."""
    names, index = torch.unique(groups, return_inverse=True)
    sums = x.new_zeros(len(names), x.shape[1]).index_add(0, index, x)
    sizes = x.new_zeros(len(names)).index_add(0, index, x.new_ones(len(x)))
    owners = labels.new_zeros(len(names)).scatter(0, index, labels)
    return sums / sizes.unsqueeze(1), owners


def triplet(x: Tensor, candidates: Tensor, positives: Tensor) -> tuple[Tensor, Tensor]:
    """max(0, 0.2 + d(b, p) - d(b, n)) in cosine distance d, averaged over all positive pairs.

    n is the nearest negative that is farther than p (semi-hard), or the farthest where none is.
    The number returned counts anchors, as elsewhere.
    """
    distance = 1 - cosines(x, 1.0)
    negatives = candidates & ~positives
    number = negatives.sum(1, keepdim=True)
    ordered, _ = distance.masked_fill(~negatives, math.inf).sort(1)
    with torch.no_grad():
        place = torch.searchsorted(ordered, distance.detach().contiguous(), right=True)
        place = place.minimum(number - 1).clamp_min(0)
    gap = _MARGIN + distance - ordered.gather(1, place)
    used = positives & (number > 0)
    loss = torch.where(used, gap.masked_fill(~used, 0.0).relu(), 0.0).sum()
    return loss / used.sum().clamp_min(1), used.any(1).sum()


class Centroids(nn.Module):
    """GE2E's softmax loss (arXiv 1710.10467): cosine to speakers' centroids, own left out of its.

    The scale and offset of the cosines are learned; the scale stays positive.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.offset = nn.Parameter(torch.tensor(-5.0))

    def forward(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, D), labels (B,) int64."""
        v = unit(x)
        centroids, names = group_means(v, labels, labels)
        own = labels[:, None] == names[None, :]  # (B, G)
        size = (labels[:, None] == labels[None, :]).sum(1)
        cosine = v @ unit(centroids).t()
        rest = own.to(v.dtype) @ centroids * size[:, None] - v  # sum over the others
        others = (v * unit(rest)).sum(1, keepdim=True)
        scores = self.log_scale.exp() * torch.where(own, others, cosine) + self.offset
        each = -torch.where(own, scores.log_softmax(1), 0.0).sum(1)
        return _mean(each, size > 1)


class Contrast(nn.Module):
    """The contrastive term of FHVAE, by name.

    supcon acts on z2 means; supcon_utterance on their means over an utterance's segments in the
    batch; supcon_table on the table rows in the batch, not on all of the table: a batch knows the
    speakers of its own rows only; ge2e on z2 means and their speakers' centroids; nca is supcon
    with FHVAE's squared distance; triplet is semi-hard, by cosine.

    Args:
        kind: one of the above, or none.
        temperature: of the cosines of the supcon kinds.
        exclude_same_utterance: two segments of one utterance are not compared (supcon, nca,
            triplet).
    """

    def __init__(self, kind: str, temperature: float, exclude_same_utterance: bool) -> None:
        super().__init__()
        self.kind, self.temperature = kind, temperature
        self.exclude = exclude_same_utterance
        self.centroids = Centroids() if kind == "ge2e" else None

    def forward(
        self, z2_mean: Tensor, table: Tensor, sequences: Tensor, speakers: Tensor,
        utterances: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """The mean over anchors, (), and how many of the vectors compared are anchors, ().

        Args:
            z2_mean: (B, D2) of segments.
            table: (rows, D2).
            sequences, speakers, utterances: (B,) int64 of the segments; sequences are table rows.
        """
        if self.centroids is not None:
            return self.centroids(z2_mean, speakers)
        vectors, groups = z2_mean, None
        if self.kind == "supcon_utterance":
            vectors, speakers = group_means(z2_mean, speakers, utterances)
        elif self.kind == "supcon_table":
            vectors, speakers = group_means(table[sequences], speakers, sequences)
        elif self.exclude:
            groups = utterances
        candidates, positives = pairs(speakers, groups)
        if self.kind == "triplet":
            return triplet(vectors, candidates, positives)
        if self.kind == "nca":
            return supcon(neighbour_scores(vectors), candidates, positives)
        return supcon(cosines(vectors, self.temperature), candidates, positives)
