"""What was said, in the ears of a recogniser that the user has: a faster-whisper directory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pylib.corpus.errors import UserError


class AsrJudge:
    """English transcripts by a model that lies on disk; nothing is downloaded."""

    def __init__(self, directory: str | os.PathLike[str], threads: int = 1) -> None:
        """
        Raises:
            UserError: no such directory, not such a model, or faster-whisper is not installed.
        """
        path = Path(directory)
        if not (path / "model.bin").is_file():
            raise UserError(
                f"{path}: no model.bin there: --asr-judge takes the directory of a faster-whisper "
                "(CTranslate2) model, for example a download of Systran/faster-whisper-base.en"
            )
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise UserError(
                f"--asr-judge {path}: faster-whisper is not installed ({error}): "
                "pip install faster-whisper into this environment, or leave the option out"
            ) from error
        self._model: Any = WhisperModel(
            str(path), device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
        )

    def transcribe(self, samples: npt.NDArray[np.float32]) -> str:
        """Words of an utterance, float32 (N,) at 16 kHz, in upper case without punctuation."""
        segments, _ = self._model.transcribe(
            samples, language="en", beam_size=5, condition_on_previous_text=False
        )
        return plain_words(" ".join(segment.text for segment in segments))


def plain_words(text: str) -> str:
    """Upper case, letters and apostrophes; anything else parts words."""
    kept = "".join(c if c.isalnum() or c == "'" else " " for c in text.upper().replace("’", "'"))
    return " ".join(kept.split())


def plain_texts(texts: Mapping[str, str]) -> dict[str, str]:
    """`plain_words` of every transcript."""
    return {utt: plain_words(text) for utt, text in texts.items()}
