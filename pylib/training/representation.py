"""What validation of pre-training tells besides losses: effective rank, and fit to phones.

Both are read off the masked frames that the losses are of, so nothing is computed twice, and both
come from tables that add up over batches and processes: a D x D matrix and two of phones x units.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pylib.nn.batch import Batch
from pylib.nn.loss import Metrics
from pylib.systems.mt4ssl import Judged
from pylib.training.data import SpeechSet
from pylib.units.labels import Align, frame_times
from pylib.units.phones import PhoneTimes, phone_ids, read_phones
from pylib.units.quality import joint_table, pnmi

log = logging.getLogger("train")

_GRAM, _PRED, _LABEL = "student_gram", "pred_table", "label_table"  # in Metrics, before `numbers`


@dataclass(frozen=True)
class PhoneJudge:
    """True phones of a development set, which judge units and are never trained on.

    Attributes:
        times: phones of each utterance that has any.
        ids: phone -> id.
        rate: Hz of the model's frames.
        align: how they lie, see `pylib.units.labels`.
        clusters: K, units of the model.
    """

    times: Mapping[str, PhoneTimes]
    ids: dict[str, int]
    rate: float
    align: Align
    clusters: int

    @staticmethod
    def of(dev: object, clusters: int) -> PhoneJudge | None:
        """From `phones.ctm` of a data directory with labels; None without either.

        Raises:
            UserError: a line of phones.ctm that cannot be read; with file and line.
        """
        if not isinstance(dev, SpeechSet) or dev.labels is None:
            return None
        path = dev.path / "phones.ctm"
        if not path.is_file():
            return None
        every = read_phones(path)
        kept = {dev.utts[row] for row in dev.plan.kept}
        times = {utt: every[utt] for utt in every.keys() & kept}
        if len(times) < len(kept):  # a forced alignment may have failed for some
            log.warning(
                "%s: has %d of %d utterances: PNMI is of these", path, len(times), len(kept)
            )
        if not times:
            return None
        rate, align = float(dev.labels["rate"]), dev.labels["align"]  # checked with the labels
        return PhoneJudge(times, phone_ids(times), rate, align, clusters)

    def at(self, utts: tuple[str, ...], width: int) -> npt.NDArray[np.int64]:
        """Phone of each frame, (B, width), -1 where none is known.

        Args:
            utts: the B utterances, each from its first frame on.
            width: T.
        """
        found = np.full((len(utts), width), -1, dtype=np.int64)
        middles = frame_times(width, self.rate, self.align)
        for row, utt in enumerate(utts):
            if utt in self.times:
                found[row] = self.times[utt].at(middles, self.ids)
        return found

    def table(self, phones: npt.NDArray[np.int64], units: npt.NDArray[np.int64]) -> Tensor:
        """Frames with phone p and unit k, (P, K) int64, of the frames that have both (B, T)."""
        seen = units >= 0
        return torch.from_numpy(
            joint_table(phones[seen], units[seen], len(self.ids), self.clusters)
        )


def measured(out: Judged, batch: Batch, phones: PhoneJudge | None) -> Metrics:
    """Tables of one batch, to be added to its metrics."""
    tables: Metrics = {_GRAM: (out.gram, out.count)}
    if phones is not None and out.units is not None and batch.labels is not None:
        units = out.units.cpu()
        labels = (batch.labels if batch.cpu_labels is None else batch.cpu_labels).cpu()
        labels = torch.where(units >= 0, labels, -1)
        known = phones.at(batch.utts, units.shape[1])
        for name, ids in ((_PRED, units), (_LABEL, labels)):
            table = phones.table(known, ids.numpy()).to(out.count.device)
            tables[name] = (table, table.sum())
    return tables


def numbers(total: Metrics) -> dict[str, float]:
    """Take the tables of `measured`, added up, out of metrics, and make numbers of them.

    student_rank: effective rank of the student's last layer at masked frames, of D at most.
    pred_pnmi, label_pnmi: phone-normalised mutual information of the units predicted at masked
    frames, and of the labels there, which is what the former is to be held against.
    """
    found: dict[str, float] = {}
    if _GRAM in total:
        found["student_rank"] = effective_rank(total.pop(_GRAM)[0])
    for name in (_PRED, _LABEL):
        if name in total:
            table = total.pop(name)[0].cpu().numpy()
            if table.sum() > 0:
                found[f"{name.removesuffix('_table')}_pnmi"] = pnmi(table)
    return found


def effective_rank(gram: Tensor) -> float:
    """exp of the entropy of the singular values of X (M, D), normalised to sum 1.

    RankMe (arXiv 2210.02885, eq. 1 and 2; not centred, without its epsilon of 1e-7), which is the
    effective rank of Roy and Vetterli, EUSIPCO 2007. D where all directions are used alike, 1
    where all frames are multiples of one vector; at most M. The singular values are the roots of
    the eigenvalues of X^T X, so roots of float64's rounding (1e-8 of the largest each) add to it.

    Args:
        gram: X^T X, (D, D) float64.

    Returns:
        The rank; 0 where X is zero, NaN where it is not finite.
    """
    if not bool(torch.isfinite(gram).all()):
        return float("nan")
    values = torch.linalg.eigvalsh(gram.detach().cpu().double()).clamp_min(0).sqrt()
    total = values.sum()
    if float(total) == 0:
        return 0.0
    share = values / total
    return float(torch.exp(-torch.special.xlogy(share, share).sum()))
