"""How speech sounds, in the ears of a network that nobody here trained: DNSMOS (speechmos)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pylib.conversion.judge_speaker import import_judge

RATE = 16000  # Hz, the networks' own
SCORES = ("ovrl", "sig", "bak", "p808")  # P.835 overall, signal, background; P.808 overall


class QualityJudge:
    """Predicted mean opinion scores from 1 to 5.

    Windows of 9.01 s every second are judged and averaged; a shorter utterance is repeated until
    it fills one, which is the package's own rule.
    """

    def __init__(self, threads: int = 1) -> None:
        """threads: of each of the two networks; the runtime would take every core."""
        module = import_judge("speechmos.dnsmos", "speechmos")
        runtime = import_judge("onnxruntime", "onnxruntime")
        models = Path(module.__file__).parent / "dnsmos_models"
        names = (str(models / "sig_bak_ovr.onnx"), str(models / "model_v8.onnx"))
        self._judge = module.DNSMOS(*names)
        # The package offers no way to say how many threads: its sessions are replaced.
        self._judge.onnx_sess = _session(runtime, names[0], threads)
        self._judge.p808_onnx_sess = _session(runtime, names[1], threads)

    def score(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Scores in the order of `SCORES`, float32 (4,).

        Args:
            samples: float32 (N,) at 16 kHz, N > 0; values outside [-1, 1] are clipped.
        """
        found = self._judge(np.clip(samples, -1.0, 1.0), RATE, False)
        return np.array([found[f"{name}_mos"] for name in SCORES], dtype=np.float32)


def _session(runtime: Any, model: str, threads: int) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
