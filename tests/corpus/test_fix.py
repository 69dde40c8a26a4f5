"""fix_data_dir: limits, causes, numbered backups."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from pylib.corpus.checker import Options
from pylib.corpus.errors import UserError
from pylib.corpus.fix import apply_fix, default_max_drop, plan_fix
from pylib.corpus.tables import read_table, write_table
from pylib.corpus.validate import validate
from tests.corpus.helpers import edit, snapshot


def visible(path: Path) -> dict[str, bytes]:
    return {n: b for n, b in snapshot(path).items() if not n.startswith((".", "fix_data_dir."))}


def test_nothing_to_do_changes_nothing(data):
    before = snapshot(data)
    plan = plan_fix(data)
    assert apply_fix(plan, 0.0) is None
    assert (len(plan.kept), plan.total, plan.notes) == (4, 4, [])
    assert snapshot(data) == before


@pytest.mark.parametrize(
    ("name", "limit"),
    [("test_clean", 0.0), ("dev", 0.0), ("test", 0.0), ("train", 0.05), ("my_test", 0.05)],
)
def test_default_limits(name, limit):
    assert default_max_drop(f"data/{name}/") == limit


def test_a_shrinking_test_set_is_refused(make_dir):
    """Kaldi makes a valid 1-utterance directory of this, exit 0."""
    data = make_dir("test_clean")
    edit(data / "text", lambda s: s.splitlines(True)[0])
    before = snapshot(data)
    with pytest.raises(UserError) as caught:
        apply_fix(plan_fix(data), default_max_drop(data))
    message = str(caught.value)
    assert "3 of 4 utterances would be dropped" in message
    assert "a-2: not in text" in message
    assert "--max-drop" in message
    assert snapshot(data) == before


def test_losses_are_listed_by_cause_and_backups_numbered(data):
    edit(data / "text", lambda s: s.replace("a-2 A SHIP\n", "") + "d-1 NO AUDIO\n")
    edit(data / "utt2dur", lambda s: s.replace("b-1 1.25", "b-1 0"))
    before = visible(data)
    backup = apply_fix(plan_fix(data), 0.7)
    assert backup == data / ".backup" / "1"
    assert snapshot(backup) == before
    log = (data / "fix_data_dir.1.log").read_text(encoding="utf-8")
    assert log.splitlines()[:4] == [
        "kept 2 utterances out of 5",
        "dropped a-2: not in text",
        "dropped d-1: not in utt2spk",
        "dropped b-1: utt2dur: '0' is not a number above 0",
    ]
    assert list(read_table(data / "utt2spk")) == ["a-1", "c-1"]
    assert read_table(data / "spk2utt") == {"a": "a-1", "c": "c-1"}
    assert not validate(data, Options(check_audio="header")).defects
    edit(data / "text", lambda s: s.replace("c-1 ONE MORE\n", ""))
    assert apply_fix(plan_fix(data), 0.5) == data / ".backup" / "2"
    assert snapshot(backup) == before
    again = snapshot(data)
    assert apply_fix(plan_fix(data), 0.0) is None
    assert snapshot(data) == again


def test_repairs_of_form_lose_nothing(data):
    edit(data / "text", lambda s: "".join(s.splitlines(True)[::-1]).replace("\n", "\r\n"))
    edit(data / "utt2spk", lambda s: s + s.splitlines(True)[0])
    edit(data / "spk2utt", lambda s: "nonsense\n")
    plan = plan_fix(data)
    apply_fix(plan, 0.0)
    assert len(plan.kept) == 4
    assert any("carriage-return is repaired" in note for note in plan.notes)
    assert not validate(data, Options()).defects


@pytest.mark.parametrize(
    ("name", "change", "cause"),
    [
        ("text", lambda s: s.replace("A SHIP", ""), "text: no words"),
        ("text", lambda s: s + "a-2 ANOTHER\n", "two different lines of one key"),
        ("utt2spk", lambda s: s.replace("a-2 a", "a-2 a b"), "utt2spk:2: 3 fields"),
        ("utt2spk", lambda s: s.replace("a-2 a\n", ""), "not in utt2spk"),
        ("wav.scp", lambda s: s.replace("a-2.flac", "no.flac"), "does not exist"),
        ("wav.scp", lambda s: s.replace("a-2.flac", "a-2.flac |"), "a shell pipe"),
        ("feats.scp", lambda s: "".join(s.splitlines(True)[::2] + s.splitlines(True)[3:]), "feats"),
        ("utt2num_frames", lambda s: s.replace("a-2 148", "a-2 -1"), "'-1' is not a number"),
        ("utt2num_frames", lambda s: s.replace("a-2 148", "a-2 1_48"), "'1_48' is not a number"),
    ],
)
def test_causes(data, name, change, cause):
    edit(data / name, change)
    plan = plan_fix(data)
    assert sorted(plan.dropped) == ["a-2"]
    assert cause in plan.dropped["a-2"]
    apply_fix(plan, 0.25)
    assert not validate(data, Options()).defects


def test_invalid_bytes_drop_the_line(data):
    raw = (data / "text").read_bytes()
    (data / "text").write_bytes(raw.replace(b"SHIP", b"SH\xffP"))
    plan = plan_fix(data)
    assert "not UTF-8" in plan.dropped["a-2"]
    apply_fix(plan, 0.25)
    assert not validate(data, Options()).defects


def test_silence_may_be_meant(data):
    edit(data / "text", lambda s: s.replace(" A SHIP", ""))
    assert not plan_fix(data, allow_empty_text=True).dropped


def test_followers_are_filtered_but_do_not_decide(data):
    write_table(data / "vad.scp", dict.fromkeys(["a-1", "zz"], "x.ark:3"))
    write_table(data / "mine", dict.fromkeys(["a-1", "zz"], "x"))
    edit(data / "text", lambda s: s.replace("c-1 ONE MORE\n", ""))
    apply_fix(plan_fix(data, utt_extra_files=["mine"]), 0.25)
    assert list(read_table(data / "vad.scp")) == list(read_table(data / "mine")) == ["a-1"]
    assert len(read_table(data / "utt2spk")) == 3


def test_speaker_files_decide(data):
    edit(data / "spk2gender", lambda s: s.replace("b f\n", ""))
    plan = plan_fix(data)
    assert plan.dropped == {"b-1": "speaker 'b' not in spk2gender"}


def test_orders_that_contradict_are_refused(data):
    shutil.rmtree(data)
    data.mkdir()
    write_table(data / "utt2spk", {"a2_1": "a2", "a_1": "a"})
    with pytest.raises(UserError, match="comes before"):
        plan_fix(data)


def test_nothing_left_is_refused(data):
    (data / "text").write_text("x-1 OTHER\n", encoding="utf-8")
    with pytest.raises(UserError, match="5 of 5 utterances"):
        apply_fix(plan_fix(data), 1.0)


def test_full_disk_changes_no_table(data, monkeypatch):
    edit(data / "text", lambda s: s.replace("c-1 ONE MORE\n", ""))
    plan, before = plan_fix(data), visible(data)
    real, calls = Path.write_bytes, []

    def full(self, content):
        calls.append(self)
        if len(calls) == 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError):
        apply_fix(plan, 0.25)
    monkeypatch.undo()
    assert visible(data) == before
    assert not [p for p in data.iterdir() if ".tmp-" in p.name]


def test_ctm_is_filtered(data):
    ctm = ";; a comment\na-1 1 0.0 0.5 HH\nc-1 1 0.5 0.5 AH\n"
    (data / "phones.ctm").write_text(ctm, encoding="utf-8")
    edit(data / "text", lambda s: s.replace("c-1 ONE MORE\n", ""))
    apply_fix(plan_fix(data), 0.25)
    assert "c-1" not in (data / "phones.ctm").read_text(encoding="utf-8")
