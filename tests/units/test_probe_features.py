"""Stored features are probed on other speakers; mismatched ones are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pylib.bin import probe_phones
from pylib.corpus.atomic import write_json
from pylib.corpus.errors import UserError
from pylib.scoring.collect import check_row
from tests.features.helpers import feature_dir

PHONES, FRAMES = 5, 200


def stored(root: Path, speakers: str, stem: str = "z1", clear: bool = True, **meta: object) -> Path:
    """Phones of 12 frames each; features that show them, or noise."""
    rng = np.random.default_rng(len(speakers))
    matrices, lines = {}, []
    for utt in (f"{speaker}-{i}" for speaker in speakers for i in range(4)):
        phones = rng.integers(PHONES, size=FRAMES // 10)
        of_frame = phones[np.minimum((np.arange(FRAMES) * 10 + 12) // 100, len(phones) - 1)]
        matrix = rng.standard_normal((FRAMES, PHONES))
        matrices[utt] = matrix + 8 * clear * np.eye(PHONES)[of_frame]
        lines += [f"{utt} 1 {0.1 * i:.2f} 0.10 P{p}\n" for i, p in enumerate(phones)]
    data = feature_dir(root, matrices, stem, **meta)
    (data / "phones.ctm").write_text("".join(lines), encoding="utf-8")
    return data


def rows(path: Path) -> list[dict]:
    found = json.loads(path.read_text(encoding="utf-8"))["results"]
    assert all(check_row(row, path) == row for row in found)
    return found


def test_clear_features_show_the_phone_and_noise_does_not(tmp_path: Path, capsys) -> None:
    out = tmp_path / "quality_phones.json"
    for clear in (True, False):
        one = stored(tmp_path / f"{clear}1", "abc", clear=clear)
        two = stored(tmp_path / f"{clear}2", "xy", clear=clear)
        write_json(two / "latents.json", {"system": "fhvae", "seed": 7})
        assert probe_phones.main([str(one), str(two), str(out)]) == 0
        (row,) = rows(out)
        assert row["measure"] == "phone_accuracy" and row["decode"] == "z1"
        assert (row["system"], row["seed"], row["set"]) == ("fhvae", 7, "set")
        assert row["low"] <= row["value"] <= row["high"]
        assert row["value"] > 0.95 if clear else row["value"] < 0.35
    assert "linear phone probe, % ↑" in capsys.readouterr().out


def test_features_without_latents_are_named_by_their_stem(tmp_path: Path) -> None:
    one = stored(tmp_path / "1", "abc", "logmel")
    two = stored(tmp_path / "2", "xy", "logmel")
    out = tmp_path / "quality.json"
    words = ["--feats", "logmel", "--max-frames", "300", str(one), str(two), str(out)]
    assert probe_phones.main(words) == 0
    (row,) = rows(out)
    assert (row["system"], row["seed"], row["decode"]) == ("logmel", None, "logmel")
    assert row["n"] < 500


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    out = str(tmp_path / "out.json")
    one = stored(tmp_path / "1", "abc", checkpoint_sha256="a.pt")
    two = stored(tmp_path / "2", "xy", checkpoint_sha256="b.pt")
    with pytest.raises(UserError, match="checkpoint 'b.pt'"):
        probe_phones.main([str(one), str(two), out])
    same = stored(tmp_path / "3", "cd", checkpoint_sha256="a.pt")
    with pytest.raises(UserError, match="'c' also in"):
        probe_phones.main([str(one), str(same), out])
    with pytest.raises(UserError, match="z2.json"):
        probe_phones.main(["--feats", "z2", str(one), str(two), out])
    (two / "phones.ctm").unlink()
    (two / "z1.json").write_text((one / "z1.json").read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(UserError, match="phones.ctm"):
        probe_phones.main([str(one), str(two), out])
    assert not Path(out).exists()
