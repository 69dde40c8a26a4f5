"""The guess without input: words of other clips, scored like any decoding."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pylib.bin import score_wer, swap_clips
from pylib.corpus.atomic import write_json
from pylib.corpus.errors import UserError
from pylib.corpus.tables import read_table, write_table
from pylib.decoding.swapped import swapped
from tests.features.helpers import feature_dir


@pytest.mark.parametrize("count", [2, 3, 4, 7, 50])
def test_every_clip_gets_the_words_of_another_and_all_are_used_once(count: int) -> None:
    hyps = {f"u{i:02d}": f"text {i}" for i in range(count)}
    made = swapped(hyps, "x")
    assert sorted(made) == sorted(hyps) and sorted(made.values()) == sorted(hyps.values())
    assert all(made[utt] != hyps[utt] for utt in hyps)
    assert made == swapped(dict(reversed(hyps.items())), "x")


def test_the_other_clip_is_of_another_speaker_where_speakers_are_many() -> None:
    hyps = {f"s{s}-{i}": f"s{s}" for s in range(4) for i in range(5)}
    assert all(words != utt.partition("-")[0] for utt, words in swapped(hyps, "x").items())


def test_one_clip_has_no_other() -> None:
    for hyps in ({}, {"a": "x"}):
        with pytest.raises(UserError, match="two clips or more"):
            swapped(hyps, "x/hyp")


def test_a_directory_is_made_and_scored(tmp_path: Path) -> None:
    texts = {"a-1": "ONE TWO", "a-2": "THREE FOUR", "b-1": "ONE SIX", "b-2": "SEVEN", "b-3": "X"}
    data = feature_dir(tmp_path, {utt: np.zeros((9, 2)) for utt in texts})
    write_table(data / "text", texts)
    write_json(tmp_path / "exp" / "run.json", {"system": "vatlm", "seed": 3, "preset": "mini"})
    folder = tmp_path / "exp" / "decode_test_v"
    # All is read right, but for a clip whose mouth was not found.
    write_table(folder / "hyp", {utt: text for utt, text in texts.items() if utt != "b-3"})
    record = {"set": "set", "decode": "v", "empty": 0, "no_pictures": ["b-3"], "lm": None}
    write_json(folder / "decode.json", record)
    assert swap_clips.main([str(folder)]) == 0
    other = tmp_path / "exp" / "decode_test_v_other"
    assert read_table(other / "hyp") == {
        "a-1": "ONE SIX", "a-2": "SEVEN", "b-1": "ONE TWO", "b-2": "THREE FOUR",
    }  # fmt: skip
    assert score_wer.main([str(data), str(other)]) == 0
    score = json.loads((other / "scoring" / "wer.json").read_text(encoding="utf-8"))
    assert (score["system"], score["seed"], score["set"]) == ("vatlm", 3, "set")
    assert (score["decode"], score["measure"], score["n"]) == ("v_other", "wer", 8)
    # 1 + 2 + 1 + 2 errors, and the clip that was not seen.
    assert score["value"] == pytest.approx(100 * 7 / 8)
    before = (other / "hyp").read_bytes(), (other / "decode.json").read_bytes()
    swap_clips.main([str(folder)])
    assert before == ((other / "hyp").read_bytes(), (other / "decode.json").read_bytes())
