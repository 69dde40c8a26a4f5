"""Who is speaking, in the ears of a speaker encoder that nobody here trained: Resemblyzer.

Its weights come with the package (LSTM of three layers on 40 mels, a unit vector of 256 numbers
per utterance; trained on VoxCeleb 1 and 2 and the -other sets of LibriSpeech, so test-other is not
new to it; VCTK is).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from pylib.corpus.errors import UserError

RATE = 16000  # Hz, the encoder's own
DIM = 256
MIN_SPEECH = 0.4  # seconds that the voice activity detector must leave, else it is not believed


def import_judge(module: str, package: str) -> Any:
    """A judge's module; its deprecation warnings are nobody's business here.

    Raises:
        UserError: it, or something it imports, is not installed.
    """
    import importlib

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"{package}: cannot be imported ({error}): install it with pip install --no-deps "
            f"{package} and the packages of constraints.txt, or unset TRIVIUM_PYTHON to have .venv "
            "made with all of them"
        ) from error


class SpeakerJudge:
    """Unit vectors whose inner product says how alike two voices are."""

    def __init__(self) -> None:
        self._package = import_judge("resemblyzer", "Resemblyzer")
        self._encoder = self._package.VoiceEncoder("cpu", verbose=False)

    def embed(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Vector of an utterance and how much of it is speech.

        Quiet audio is raised to -30 dBFS and long pauses are cut out, as the encoder was trained.
        Where hardly any speech is found the whole utterance is taken, so that noise put out by a
        failed conversion is judged and not left out.

        Args:
            samples: float32 (N,) at 16 kHz, N > 0.

        Returns:
            float32 (257,): the unit vector (256,), then the seconds of speech that were found.
        """
        speech = np.zeros(0, np.float32)
        if np.abs(samples).max() > 0:
            speech = self._package.preprocess_wav(samples)
        seconds = len(speech) / RATE
        vector = self._encoder.embed_utterance(samples if seconds < MIN_SPEECH else speech)
        return np.append(vector, seconds).astype(np.float32)
