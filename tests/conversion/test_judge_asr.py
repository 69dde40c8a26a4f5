"""The recogniser that a user may have: refusals, and how words are made comparable."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from pylib.conversion.judge_asr import AsrJudge, plain_texts, plain_words
from pylib.corpus.errors import UserError


def test_words() -> None:
    assert plain_words(" It’s 5 o'clock -- already?") == "IT'S 5 O'CLOCK ALREADY"
    assert plain_texts({"a": "Ask her."}) == {"a": "ASK HER"}


def test_no_model_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="faster-whisper"):
        AsrJudge(tmp_path / "none")


@pytest.mark.skipif(
    importlib.util.find_spec("faster_whisper") is not None, reason="faster-whisper is installed"
)
def test_no_package(tmp_path: Path) -> None:
    (tmp_path / "model.bin").touch()
    with pytest.raises(UserError, match="pip install faster-whisper"):
        AsrJudge(tmp_path)
