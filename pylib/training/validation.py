"""Measures on the development set: exact sums over the whole set, never means of batch means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from rapidfuzz.distance import Levenshtein
from torch import nn

from pylib.decoding.greedy import collapse
from pylib.nn.batch import Batch
from pylib.nn.loss import Metrics, add_metrics, summarise
from pylib.systems.ctc import CTC
from pylib.systems.mt4ssl import Judged
from pylib.training import representation
from pylib.training.data import SpeechSet
from pylib.training.distributed import Processes
from pylib.training.reduce import of_present_kinds, reduce_metrics
from pylib.training.representation import PhoneJudge
from pylib.training.sets import AnySet
from pylib.training.step import Updater, seed_micro
from pylib.units.letters import BLANK, decode

_SEED = 20221113  # masks of validation are the same in every run and at every update


class Interrupted(Exception):
    """A signal came during validation; it is done again when the run goes on."""


def validate(
    system: nn.Module,
    dev: AnySet,
    updater: Updater,
    where: Processes,
    stop: Callable[[], bool] = lambda: False,
    phones: PhoneJudge | None = None,
) -> dict[str, float]:
    """Losses, and for CTC the greedy word and character error rates (%), on the whole set.

    For MT4SSL and its parents also what `representation` tells; phones: those that judge its units.
    The system is left in training mode. Raises Interrupted when `stop` says so (one process
    only: several would wait for each other).
    """
    count = dev.plan.batches_per_epoch
    # Fewer batches than processes: every process does all of them.
    shared = where.world > 1 and count >= where.world
    indices = list(range(where.rank, count, where.world) if shared else range(count))
    mine = len(indices)
    if shared and where.sharded and mine * where.world < count:
        # Sharded parameters are fetched by all processes together: who has a batch less does one
        # again that does not count.
        indices.append(indices[-1])
    total: Metrics = {}
    generator = torch.Generator()
    system.eval()
    try:
        with torch.no_grad():
            for number, index in enumerate(indices):
                if where.world == 1 and stop():
                    raise Interrupted
                seed_micro(_SEED, index, generator)
                with updater.autocast():
                    part = _of_batch(system, dev, dev.batch(index), generator, phones, where)
                if number < mine:
                    total = add_metrics([total, part])
    finally:
        system.train()
    if isinstance(dev, SpeechSet) and dev.unusable and where.rank == 0:
        total = add_metrics([total, _missed(dev.unusable, dev.text)])
    if shared:
        total = reduce_metrics(total, where)
    judged = representation.numbers(total)
    return summarise(of_present_kinds(total)) | judged


def _of_batch(
    system: nn.Module,
    dev: AnySet,
    batch: Any,
    generator: torch.Generator,
    phones: PhoneJudge | None,
    where: Processes,
) -> Metrics:
    batch = batch.to(where.device)
    if isinstance(dev, SpeechSet) and isinstance(system, CTC):
        return _recognise(system, batch, dev)
    out = system(batch, generator)
    if isinstance(out, Judged):
        return {**out.metrics, **representation.measured(out, batch, phones)}
    return out.metrics


def _recognise(system: CTC, batch: Batch, dev: SpeechSet) -> Metrics:
    """Loss and greedy errors of one batch."""
    log_probs, lengths = system.log_probs(batch)
    log_probs = log_probs.float().cpu()
    assert batch.tokens is not None and batch.token_lengths is not None
    loss = F.ctc_loss(
        log_probs.transpose(0, 1),
        batch.tokens.cpu(),
        lengths,
        batch.token_lengths,
        blank=BLANK,
        reduction="none",
        zero_infinity=True,
    )
    best = log_probs.argmax(2).tolist()
    hypotheses = [
        decode(collapse(row[:length], BLANK))
        for row, length in zip(best, lengths.tolist(), strict=True)
    ]
    metrics = errors([dev.text[utt] for utt in batch.utts], hypotheses)
    metrics["loss"] = (loss.double().sum(), torch.tensor(float(len(batch))))
    return metrics


def _missed(utts: Sequence[str], text: dict[str, str]) -> Metrics:
    return errors([text[utt] for utt in utts if utt in text], [""] * len(utts))


def errors(references: Sequence[str], hypotheses: Sequence[str]) -> Metrics:
    """Edits x 100 and reference sizes, of words (`wer`) and characters with spaces (`cer`)."""
    word_edits = words = char_edits = chars = 0
    for reference, hypothesis in zip(references, hypotheses, strict=False):
        ref, hyp = reference.split(), hypothesis.split()
        word_edits += Levenshtein.distance(ref, hyp)
        words += len(ref)
        char_edits += Levenshtein.distance(" ".join(ref), " ".join(hyp))
        chars += len(" ".join(ref))
    return {
        "wer": (torch.tensor(100.0 * word_edits).double(), torch.tensor(float(words))),
        "cer": (torch.tensor(100.0 * char_edits).double(), torch.tensor(float(chars))),
    }
