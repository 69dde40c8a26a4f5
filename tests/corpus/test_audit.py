"""Every defect of an audio file is found before anything is built on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from pylib.corpus.audit import AudioRules, audit_audio, count_kinds, inspect_file
from pylib.corpus.errors import UserError


def write(path: Path, seconds: float, rate: int = 16000, channels: int = 1) -> Path:
    noise = np.random.default_rng(0).normal(0, 0.1, (int(seconds * rate), channels))
    soundfile.write(path, noise, rate, subtype="PCM_16")
    return path


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path


def flip(path: Path) -> Path:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    return path


def test_each_defect_has_its_kind(tmp_path: Path) -> None:
    files = {
        "good": write(tmp_path / "good.flac", 1.0),
        "cut": cut(write(tmp_path / "cut.flac", 1.0), 0.7),
        "cut-end": cut(write(tmp_path / "cut-end.flac", 1.0), 0.999),
        "empty": tmp_path / "empty.flac",
        "header": cut(write(tmp_path / "header.flac", 1.0), 0.0005),
        "text": tmp_path / "text.flac",
        "rate": write(tmp_path / "rate.flac", 1.0, rate=8000),
        "stereo": write(tmp_path / "stereo.flac", 1.0, channels=2),
        "short": write(tmp_path / "short.flac", 399 / 16000),
        "shortest": write(tmp_path / "shortest.flac", 400 / 16000),
        "long": write(tmp_path / "long.flac", 3.1),
    }
    files["empty"].touch()
    files["text"].write_text("not audio at all", encoding="utf-8")
    findings = audit_audio({k: str(v) for k, v in files.items()}, AudioRules(max_seconds=3.0))
    assert {name: finding.kind for name, finding in findings.items()} == {
        "good": "",
        "cut": "truncated",
        "cut-end": "truncated",
        "empty": "empty",
        "header": "unreadable",
        "text": "unreadable",
        "rate": "rate",
        "stereo": "channels",
        "short": "too-short",
        "shortest": "",
        "long": "too-long",
    }
    assert findings["good"].samples == 16000
    for name, finding in findings.items():
        assert not finding.kind or str(files[name]) in finding.what
    assert count_kinds(findings).startswith("2 truncated, 2 unreadable, 1 channels")
    assert count_kinds({}) == "none"


def test_full_check_finds_corruption_inside(tmp_path: Path) -> None:
    path = str(flip(write(tmp_path / "a.flac", 5.0)))
    assert inspect_file("a", path, AudioRules(check="tail")).kind == ""
    assert inspect_file("a", path, AudioRules(check="full")).kind == "truncated"
    with pytest.raises(UserError, match="choose one of"):
        AudioRules(check="some")


def test_processes_find_the_same(tmp_path: Path) -> None:
    good, bad = write(tmp_path / "g.flac", 0.1), cut(write(tmp_path / "b.flac", 1.0), 0.5)
    wav = {f"u{i:05d}": str(bad if i % 700 == 3 else good) for i in range(2100)}
    alone = audit_audio(wav, AudioRules(), jobs=1)
    assert alone == audit_audio(wav, AudioRules(), jobs=2)
    assert list(alone) == list(wav) and count_kinds(alone) == "3 truncated"
