"""CTC beam search over a lexicon with an n-gram model: flashlight-text and its KenLM reader.

Maximises log p_CTC + lm_weight log10 P_LM + word_score |words| + sil_score |boundaries| (HuBERT
eq. 4; KenLM's scores are log10, and so are published weights). Words outside the
lexicon cannot be written.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pylib.corpus.errors import UserError
from pylib.decoding.lexicon import read_lexicon
from pylib.decoding.tokens import Tokens


@dataclass(frozen=True)
class BeamOptions:
    """Settings of the search; defaults are MT4SSL's published command but for the beam."""

    beam: int = 500  # hypotheses kept a frame (MT4SSL 1500, HuBERT 500)
    beam_threshold: float = 50.0  # natural-log distance from the best at which one is dropped
    beam_tokens: int = 0  # outputs tried a frame and hypothesis, best first; 0 = all
    lm_weight: float = 2.0  # on log10 P_LM
    word_score: float = -1.0  # added per word
    sil_score: float = 0.0  # added per frame step into the boundary token
    log_add: bool = False  # sum, rather than maximise, over alignments

    def __post_init__(self) -> None:
        if self.beam < 1 or self.beam_threshold <= 0 or self.beam_tokens < 0:
            raise UserError(
                f"beam = {self.beam}, threshold = {self.beam_threshold}, tokens = "
                f"{self.beam_tokens}: beam >= 1, threshold > 0 and tokens >= 0 are needed"
            )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Hypothesis:
    """Best words of an utterance with the scores that chose them (total; LM part in log10)."""

    words: list[str]
    score: float
    lm_score: float


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep KenLM's progress bar off the terminal; show what it wrote if the body fails."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(saved, 2)
            sink.seek(0)
            os.write(2, sink.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def load_kenlm(path: str | Path, words: list[str]) -> tuple[Any, Any]:
    """(flashlight KenLM, its word dictionary) of an ARPA (plain, gz) or KenLM binary file."""
    from flashlight.lib.text.decoder.kenlm import KenLM
    from flashlight.lib.text.dictionary import Dictionary

    if not Path(path).is_file():
        raise UserError(f"{path}: no language model: run steps/make_lm.sh")
    dictionary = Dictionary(words)
    dictionary.set_default_index(-1)
    try:
        with _quiet_stderr():
            return KenLM(str(path), dictionary), dictionary
    except (RuntimeError, UnicodeDecodeError) as error:  # its message quotes the bytes
        raise UserError(f"{path}: KenLM cannot read it: {error}: make or fetch it again") from None


class LexiconBeam:
    """The loaded lexicon and model; `decode` may be called with different options."""

    def __init__(self, lexicon: str | Path, lm: str | Path, tokens: Tokens) -> None:
        from flashlight.lib.text.decoder import SmearingMode, Trie

        entries = read_lexicon(lexicon, tokens)
        self.tokens = tokens
        self._words = list(dict.fromkeys(word for word, _ in entries))
        index = {word: i for i, word in enumerate(self._words)}
        self._lm, self._dictionary = load_kenlm(lm, self._words)
        self._trie = Trie(len(tokens.symbols), tokens.boundary)
        start = self._lm.start(False)
        for word, spelling in entries:
            _, score = self._lm.score(start, index[word])
            self._trie.insert(spelling, index[word], score)
        self._trie.smear(SmearingMode.MAX)
        self._decoders: dict[BeamOptions, Any] = {}

    def _decoder(self, options: BeamOptions) -> Any:
        from flashlight.lib.text.decoder import (
            CriterionType,
            LexiconDecoder,
            LexiconDecoderOptions,
        )

        if options not in self._decoders:
            self._decoders.clear()
            settings = LexiconDecoderOptions(
                beam_size=options.beam,
                beam_size_token=options.beam_tokens or len(self.tokens.symbols),
                beam_threshold=options.beam_threshold,
                lm_weight=options.lm_weight,
                word_score=options.word_score,
                unk_score=-math.inf,
                sil_score=options.sil_score,
                log_add=options.log_add,
                criterion_type=CriterionType.CTC,
            )
            self._decoders[options] = LexiconDecoder(
                settings,
                self._trie,
                self._lm,
                self.tokens.boundary,
                self.tokens.blank,
                -1,
                [],
                False,
            )
        return self._decoders[options]

    def decode(self, log_probs: np.ndarray, options: BeamOptions) -> Hypothesis:
        """Best word sequence for log_probs (T, V), natural log; deterministic.

        An utterance of no frames is the empty hypothesis. UserError: V differs from the token
        table, NaN in the log-probabilities.
        """
        frames, width = log_probs.shape
        if width != len(self.tokens.symbols):
            raise UserError(
                f"log-probabilities have {width} columns, the token table "
                f"{len(self.tokens.symbols)}: they are of two models, dump them again"
            )
        if np.isnan(log_probs).any():
            raise UserError("log-probabilities contain NaN: the model has diverged")
        if not frames:
            return Hypothesis([], 0.0, 0.0)
        emissions = np.ascontiguousarray(log_probs, dtype=np.float32)
        results = self._decoder(options).decode(emissions.ctypes.data, frames, width)
        if not results:
            return Hypothesis([], -math.inf, 0.0)
        best = results[0]
        words = [self._words[i] for i in best.words if i >= 0]
        return Hypothesis(words, float(best.score), float(best.lmScore))
