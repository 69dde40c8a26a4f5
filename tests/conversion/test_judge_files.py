"""Converted data directories are read with care; what was heard is not heard again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from pylib.conversion.judge_files import Hearing, load_conversions, parallel_of, read_hearing
from pylib.corpus.audio import write_audio
from pylib.corpus.datadir import DataDir
from pylib.corpus.errors import UserError
from tests.conversion.helpers_judge import all_pairs, converted_dir, natural_dir


@pytest.fixture
def natural(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    audio = {
        f"{spk}-{i}": (0.1 * rng.standard_normal(8000)).astype(np.float32)
        for spk in "abc"
        for i in range(3)
    }
    return natural_dir(tmp_path, audio, text=True)


def test_conversions(tmp_path: Path, natural: Path) -> None:
    found = load_conversions(converted_dir(tmp_path, "c", natural, all_pairs(natural, "source")))
    assert (found.system, found.decode) == ("fhvae", "shift/world")
    assert found.source["b-a"] == "a-0"
    assert found.references["b-a"] == ("b-1",)
    # The source's words are TEXT 0, which the target says in its utterance 0.
    assert parallel_of(found, DataDir.load(natural))["b-a"] == "b-0"


def test_without_a_system_the_method_is_the_name(tmp_path: Path, natural: Path) -> None:
    pairs = all_pairs(natural, "source")
    out = converted_dir(tmp_path, "c", natural, pairs, method="meanvar", system=None)
    assert load_conversions(out).system == "meanvar"


def test_what_is_heard_counts_as_used(tmp_path: Path, natural: Path) -> None:
    """Copy synthesis of a target must not be compared with the recording that it copies."""
    out = converted_dir(tmp_path, "c", natural, all_pairs(natural, "target"), method="target")
    utts = DataDir.load(out).utts
    (out / "carrier").write_text("".join(f"{utt} {utt[0]}-2\n" for utt in utts))
    assert load_conversions(out).references["b-a"] == ("b-1", "b-2")


def test_no_conversions(natural: Path) -> None:
    with pytest.raises(UserError, match=r"convert\.json.*steps/convert\.sh"):
        load_conversions(natural)


def test_broken_conversions(tmp_path: Path, natural: Path) -> None:
    out = converted_dir(tmp_path, "c", natural, all_pairs(natural, "source"))
    lines = (out / "source").read_text().splitlines()
    (out / "source").write_text("\n".join(lines[1:]) + "\n")
    with pytest.raises(UserError, match="source: has other utterances.*a-b"):
        load_conversions(out)
    (out / "convert.json").write_text(json.dumps({"method": "shift"}))
    with pytest.raises(UserError, match="vocoder"):
        load_conversions(out)


class Counting(Hearing):
    """Hears the level of the audio, and counts."""

    heard = 0

    def _judge(self):
        def one(utt: str) -> np.ndarray:
            Counting.heard += 1
            return np.full((1, 2), np.abs(self.data.read_utt(utt)).max(), np.float32)

        return one


def test_what_was_heard_is_kept_until_the_audio_changes(natural: Path) -> None:
    def hear(jobs: int) -> dict[str, np.ndarray]:
        data = DataDir.load(natural)
        hearing = Counting("quality", data, jobs)
        if not hearing.is_done():
            for index in range(1, jobs + 1):
                hearing.make_shard(index)
            hearing.derived.commit(hearing.utts)
        return read_hearing(data, "quality")

    Counting.heard = 0
    first = hear(2)
    assert (Counting.heard, len(first), first["a-0"].shape) == (9, 9, (2,))
    assert hear(3).keys() == first.keys()
    assert Counting.heard == 9
    path = DataDir.load(natural).wav["a-0"]
    shutil.copyfile(path, f"{path}.again")  # the same, made at another time
    os.replace(f"{path}.again", path)
    assert hear(2).keys() == first.keys() and Counting.heard == 9
    write_audio(path, np.full(9000, 0.9, np.float32), 16000)
    assert hear(2)["a-0"][0] == pytest.approx(0.9, abs=1e-3)
    assert Counting.heard == 18
    shutil.rmtree(natural / "judges")
    with pytest.raises((UserError, OSError)):
        read_hearing(DataDir.load(natural), "quality")


def test_a_sample_of_the_utterances_is_drawn_by_name(natural: Path) -> None:
    data = DataDir.load(natural)
    drawn = Hearing("quality", data, 1, limit=4).utts
    assert len(drawn) == 4
    assert drawn == sorted(drawn) == Hearing("quality", data, 2, limit=4).utts
