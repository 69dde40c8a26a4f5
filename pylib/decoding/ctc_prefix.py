"""CTC's score of every prefix a search may take next, for many hypotheses at once.

The score of a prefix is the probability that the sentence begins with it, summed over all
alignments (arXiv 1609.06773's prefix score). Probabilities are kept in double precision relative
to the prefix's own, so that a step for all tokens is one matrix product.
"""

from __future__ import annotations

import torch
from torch import Tensor

_TINY = 1e-290  # below: impossible


class CTCPrefix:
    """Prefix scores of n hypotheses of each of B utterances.

    Args:
        log_probs: (B, T, V), blank certain beyond an utterance's frames.
        blank: id of the blank.
        eos: id that ends a sentence; its column is given the score of the whole sentence.
    """

    def __init__(self, log_probs: Tensor, blank: int, eos: int) -> None:
        self.blank, self.eos = blank, eos
        self.probs = log_probs.double().exp()
        rows, frames, _ = log_probs.shape
        # Row t: the first t frames spell the prefix exactly, the last of them no blank / a blank.
        self.plain = self.probs.new_zeros(frames + 1, rows)
        self.blanked = torch.cat(
            [self.probs.new_ones(1, rows), self.probs[:, :, blank].t().cumprod(0)]
        )
        self.last = torch.full((rows,), -1, dtype=torch.int64, device=log_probs.device)
        self.score = self.probs.new_zeros(rows)  # natural log; the tables are relative to it
        self._next = self.score

    def scores(self) -> Tensor:
        """Natural logs (B, n, V) float32 of all prefixes that are one token longer; -inf where
        impossible. The column of eos holds the sentence that ends here, that of the blank -inf."""
        rows, frames, vocab = self.probs.shape
        before = (self.plain + self.blanked)[:-1].t().reshape(rows, -1, frames)
        total = before @ self.probs
        hypotheses = total.shape[1]
        known = self.last >= 0
        if bool(known.any()):
            # A token said again needs a blank between.
            again = self.last.clamp_min(0).view(rows, 1, -1).expand(rows, frames, -1)
            chances = self.probs.gather(2, again).permute(1, 0, 2).reshape(frames, -1)
            repeated = (self.blanked[:-1] * chances).sum(0)
            flat = total.view(-1, vocab)
            place = self.last.clamp_min(0)[:, None]
            kept = torch.where(known, repeated, flat.gather(1, place)[:, 0])
            flat.scatter_(1, place, kept[:, None])
        total[:, :, self.eos] = (self.plain[-1] + self.blanked[-1]).view(rows, -1)
        total[:, :, self.blank] = 0.0
        total = torch.where(total > _TINY, total, 0.0).log()
        self._next = total + self.score.view(rows, hypotheses, 1)
        return self._next.float()

    def advance(self, rows: Tensor, tokens: Tensor, utterances: Tensor | None = None) -> None:
        """Take tokens (B' * n',) after hypotheses `rows` (of B * n); see `DecoderState.select`.

        Call it after `scores`. Hypotheses that were impossible stay so.
        """
        count, frames, vocab = self.probs.shape
        score = self._next.reshape(-1, vocab)[rows, tokens]
        hypotheses = self.plain.shape[1] // count
        own = torch.div(rows, hypotheses, rounding_mode="floor")
        gain = (self.score[rows] - score).clamp(max=600.0).exp()
        gain = torch.where(score.isfinite(), gain, 0.0)
        plain, blanked = self.plain[:, rows], self.blanked[:, rows]
        before = torch.where(self.last[rows] == tokens, blanked, plain + blanked) * gain
        chances = self.probs[own, :, tokens].t().contiguous()
        blank = self.probs[:, :, self.blank][own].t().contiguous()
        self.plain, self.blanked = torch.zeros_like(plain), torch.zeros_like(blanked)
        now, pause = torch.zeros_like(gain), torch.zeros_like(gain)
        for frame in range(frames):
            both = now + pause
            torch.mul(now.add_(before[frame]), chances[frame], out=now)
            torch.mul(both, blank[frame], out=pause)
            self.plain[frame + 1], self.blanked[frame + 1] = now, pause
        self.last, self.score = tokens, torch.where(score.isfinite(), score, 0.0)
        if utterances is not None:
            self.probs = self.probs.index_select(0, utterances)
