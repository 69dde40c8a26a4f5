"""The rows of a data directory's labels, against phone times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pylib.corpus.ark import ArkWriter
from pylib.corpus.atomic import write_json
from pylib.corpus.errors import UserError
from pylib.units.measure import measure_labels
from tests.features.helpers import feature_dir

IDENTITY = {"system": "mt4ssl", "seed": 3, "set": "dev"}
KEYS = {"system", "seed", "set", "measure", "decode", "value", "low", "high", "n", "file"}


def labelled(root: Path, noise: float) -> Path:
    """Three speakers; phone i of 0.2 s is unit i (of 4), but for a share `noise` of the frames."""
    rng = np.random.default_rng(0)
    utts = [f"{speaker}-{i}" for speaker in "abc" for i in range(3)]
    data = feature_dir(root, {utt: np.zeros((200, 2)) for utt in utts})
    lines = []
    with ArkWriter(root / "labels.ark", data / "labels.scp") as writer:
        for utt in utts:
            phones = rng.integers(4, size=10)
            lines += [f"{utt} 1 {0.2 * i:.2f} 0.20 P{p}\n" for i, p in enumerate(phones)]
            ids = np.repeat(phones, 10).astype(np.int32)
            wrong = rng.random(len(ids)) < noise
            ids[wrong] = rng.integers(4, size=int(wrong.sum()))
            writer.write(utt, ids)
    write_json(data / "labels.json", {"rate": 50.0, "align": "start", "clusters": 4})
    (data / "phones.ctm").write_text("".join(lines))
    return data


def values(result: dict) -> dict[str, dict]:
    return {item["measure"]: item for item in result["results"]}


def test_units_that_are_phones(tmp_path: Path) -> None:
    result = measure_labels(labelled(tmp_path, 0.0), IDENTITY, "exp/units.json")
    rows = values(result)
    for measure in ("pnmi", "phone_purity", "cluster_purity"):
        row = rows[measure]
        assert row.keys() == KEYS
        assert row["value"] == pytest.approx(1)
        assert {k: row[k] for k in IDENTITY} == IDENTITY
        assert (row["decode"], row["file"], row["n"]) == ("kmeans", "exp/units.json", 900)
    assert result["units"]["frames"] == sum(result["units"]["counts"]) == 900
    assert result["units"]["mean_phone_seconds"] == pytest.approx(0.2)


def test_noise_lowers_all_and_intervals_hold_the_value(tmp_path: Path) -> None:
    rows = values(measure_labels(labelled(tmp_path, 0.4), IDENTITY, "x"))
    for measure in ("pnmi", "phone_purity", "cluster_purity"):
        assert 0.1 < rows[measure]["value"] < 0.8
        assert rows[measure]["low"] <= rows[measure]["value"] <= rows[measure]["high"]
    assert rows["phone_purity"]["value"] == pytest.approx(0.7, abs=0.05)


def test_without_phone_times_only_use_is_measured(tmp_path: Path) -> None:
    data = labelled(tmp_path, 0.0)
    (data / "phones.ctm").unlink()
    rows = values(measure_labels(data, IDENTITY, "x"))
    assert rows.keys() == {"unit_perplexity", "unit_seconds"}
    assert 3 < rows["unit_perplexity"]["value"] <= 4


def test_phone_times_of_other_utterances(tmp_path: Path) -> None:
    data = labelled(tmp_path, 0.0)
    text = (data / "phones.ctm").read_text().replace("c-2 ", "z-2 ")
    (data / "phones.ctm").write_text(text)
    with pytest.raises(UserError, match="no phones of 'c-2'"):
        measure_labels(data, IDENTITY, "x")
    (data / "phones.ctm").write_text(text.replace("z-2 ", "c-2 ").replace(" 1 ", " 1 9"))
    with pytest.raises(UserError, match="in seconds"):
        measure_labels(data, IDENTITY, "x")
