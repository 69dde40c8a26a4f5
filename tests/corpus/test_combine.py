"""combine_data and copy_data_dir: sources are safe, contradictions refused."""

from __future__ import annotations

import pytest

from pylib.corpus.checker import Options
from pylib.corpus.combine import Renaming, combine, load_sources, rename, write_contents
from pylib.corpus.datadir import DataDir
from pylib.corpus.errors import UserError
from pylib.corpus.layout import Contents
from pylib.corpus.tables import read_table, write_table
from pylib.corpus.validate import validate
from tests.corpus.helpers import edit, snapshot

FULL = Options(check_audio="header", check_ark="full")


def join(sources, destination):
    whole, notes = combine(load_sources(sources, destination))
    write_contents(whole, destination)
    return notes


def test_combined_directory_is_whole(make_dir, tmp_path):
    one, two = make_dir("one"), make_dir("two", prefix="x")
    assert join([two, one], tmp_path / "all") == []
    assert len(DataDir.load(tmp_path / "all").utts) == 8
    assert not validate(tmp_path / "all", FULL).defects
    assert set(snapshot(tmp_path / "all")) == set(snapshot(one))


def test_destination_among_sources_is_an_error(make_dir):
    """Kaldi's combine_data.sh x x deletes x."""
    one, two = make_dir("one"), make_dir("two", prefix="x")
    before = snapshot(one)
    for sources in ([one], [two, one]):
        with pytest.raises(UserError, match="is among the sources"):
            join(sources, one)
    with pytest.raises(UserError, match="named twice"):
        join([two, two.parent / "two"], one)
    assert snapshot(one) == before


def test_the_same_key_in_two_sources(make_dir, tmp_path):
    one, two = make_dir("one"), make_dir("two")
    with pytest.raises(UserError, match=r"two: key 'a-1' is also in .*one: rename"):
        join([one, two], tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_a_broken_source_touches_nothing(make_dir, tmp_path):
    one, two = make_dir("one"), make_dir("two", prefix="x")
    join([one], tmp_path / "all")
    before = snapshot(tmp_path / "all")
    edit(two / "text", lambda s: "")
    with pytest.raises(UserError, match=r"two/text: lacks"):
        join([one, two], tmp_path / "all")
    assert snapshot(tmp_path / "all") == before


def test_what_one_source_lacks_is_left_out_with_a_note(make_dir, tmp_path):
    one, two = make_dir("one"), make_dir("two", prefix="x")
    for name in ("text", "labels.scp", "labels.json"):
        (two / name).unlink()
    notes = join([one, two], tmp_path / "all")
    assert any(note.startswith("text is left out") for note in notes)
    names = set(snapshot(tmp_path / "all"))
    assert not names & {"text", "labels.scp", "labels.json"}
    assert not validate(tmp_path / "all", Options(no_text=True)).defects


@pytest.mark.parametrize("name", ["labels.json", "feats.json", "frame_shift"])
def test_descriptions_must_agree(make_dir, tmp_path, name):
    one, two = make_dir("one"), make_dir("two", prefix="x")
    (one / name).write_text('{"rate": 1}\n', encoding="utf-8")
    (two / name).write_text('{"rate": 2}\n', encoding="utf-8")
    with pytest.raises(UserError, match=rf"two/{name}: differs from .*one/{name}"):
        join([one, two], tmp_path / "all")


def test_shared_speakers_must_agree(make_dir, tmp_path):
    one, two = make_dir("one"), make_dir("two", prefix="a-x")
    utt2spk = dict.fromkeys(read_table(two / "utt2spk"), "a")
    write_table(two / "utt2spk", utt2spk)
    write_table(two / "spk2gender", {"a": "f"})
    join([one, two], tmp_path / "all")
    assert read_table(tmp_path / "all" / "spk2gender")["a"] == "f"
    write_table(two / "spk2gender", {"a": "m"})
    with pytest.raises(UserError, match="'a m' contradicts 'a f'"):
        join([one, two], tmp_path / "all")


def test_segments_and_utt2uniq_are_made_up(make_dir, tmp_path):
    one, two = make_dir("one"), make_dir("two", prefix="x")
    wav = read_table(one / "wav.scp")
    write_table(
        one / "segments", {utt: f"r{utt} 0 {d}" for utt, d in read_table(one / "utt2dur").items()}
    )
    write_table(one / "wav.scp", {f"r{utt}": path for utt, path in wav.items()})
    write_table(one / "utt2uniq", {utt: utt for utt in wav})
    join([one, two], tmp_path / "all")
    assert read_table(tmp_path / "all" / "segments")["xa-2"] == "xa-2 0 1.5"
    assert read_table(tmp_path / "all" / "utt2uniq")["xb-1"] == "xb-1"
    assert not validate(tmp_path / "all", FULL).defects
    (two / "utt2dur").unlink()
    with pytest.raises(UserError, match=r"get_utt2dur.sh"):
        join([one, two], tmp_path / "all")


def test_copy_renames_everywhere(data, tmp_path):
    (data / "phones.ctm").write_text("a-1 1 0.0 0.5 HH\n", encoding="utf-8")
    copy = rename(Contents.load(data), Renaming("p-", "p-", "", ""))
    write_contents(copy, tmp_path / "copy")
    assert not validate(tmp_path / "copy", FULL).defects
    assert read_table(tmp_path / "copy" / "utt2spk")["p-a-1"] == "p-a"
    assert read_table(tmp_path / "copy" / "spk2gender") == {"p-a": "f", "p-b": "f", "p-c": "f"}
    assert (tmp_path / "copy" / "phones.ctm").read_text().startswith("p-a-1 ")


def test_copy_checks_the_prefix_rule(data):
    contents = Contents.load(data)
    with pytest.raises(UserError, match="utt2spk after renaming"):
        rename(Contents("x", {"a-1": "b", "b-1": "a"}), Renaming())
    with pytest.raises(UserError, match="white space"):
        rename(contents, Renaming(utt_prefix="a b"))


def test_copy_keeps_recordings_of_segments(data):
    contents = Contents.load(data)
    contents.utt["segments"] = {utt: f"{utt} 0 1" for utt in contents.utt2spk}
    copy = rename(contents, Renaming("x", "x"))
    assert list(copy.reco["wav.scp"]) == ["a-1", "a-2", "b-1", "c-1"]
    assert copy.utt["segments"]["xa-1"] == "a-1 0 1"


def test_copy_backs_up_what_only_the_destination_had(data, tmp_path):
    out = tmp_path / "copy"
    write_contents(Contents.load(data), out)
    for round_ in ("1", "2"):
        (out / "cmvn.scp").write_text(round_, encoding="utf-8")
        assert write_contents(Contents.load(data), out) == out / ".backup" / round_
    assert write_contents(Contents.load(data), out) is None
    assert (out / ".backup" / "1" / "cmvn.scp").read_text() == "1"
    assert (out / ".backup" / "2" / "cmvn.scp").read_text() == "2"
    assert not (out / "cmvn.scp").exists()


def test_speakers_out_of_order_are_told_with_their_files(tmp_path):
    for name, utt in (("d", "a-1"), ("e", "b-1")):
        (tmp_path / name).mkdir()
        write_table(tmp_path / name / "utt2spk", {utt: {"a-1": "z", "b-1": "b"}[utt]})
    with pytest.raises(UserError, match=r"d/utt2spk and .*e/utt2spk combined: sorted by utterance"):
        combine(load_sources([tmp_path / "d", tmp_path / "e"], tmp_path / "out"))
