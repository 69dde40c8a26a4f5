"""Clips: cutting at pauses, sound as long as video, what is left out and why."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from pylib.corpus.ark import ArkWriter
from pylib.corpus.atomic import write_json
from pylib.corpus.checker import Options
from pylib.corpus.clips import (
    ClipRules,
    Unusable,
    Word,
    check_length,
    fit,
    frames_of,
    load_clip,
    split_at_pauses,
)
from pylib.corpus.datadir import DataDir, write_datadir, write_tables
from pylib.corpus.errors import UserError
from pylib.corpus.layout import Contents
from pylib.corpus.tables import write_table
from pylib.corpus.validate import validate
from pylib.corpus.video_tables import Clip, read_clips
from tests.corpus.videos import chirp, write_mp4


def words(*times: tuple[float, float]) -> list[Word]:
    return [Word(f"W{n}", start, end) for n, (start, end) in enumerate(times)]


def test_short_clips_stay_whole():
    table = words((0.5, 1.0), (3.0, 14.99))
    pieces = split_at_pauses(table)
    assert [(p.begin, p.end, p.words) for p in pieces] == [(0.0, None, ("W0", "W1"))]
    assert split_at_pauses([])[0].words == ()


def test_long_clips_are_cut_in_the_middle_of_pauses():
    table = words((0.5, 5.0), (5.3, 9.0), (9.5, 12.0), (12.41, 15.0), (15.4, 16.0))
    pieces = split_at_pauses(table)
    assert [p.words for p in pieces] == [("W0", "W1"), ("W2",), ("W3", "W4")]
    ends = [pieces[0].begin, *(p.end for p in pieces)]
    np.testing.assert_allclose(ends[:3], [0.0, 9.25, 12.205])
    assert ends[3] is None and pieces[1].begin == pieces[0].end


def test_pieces_tile_the_frames():
    cuts = [0.0, 3.333, 3.36, 7.9999999, 12.0]
    spans = [frames_of(a, b, 310) for a, b in zip(cuts, [*cuts[1:], None], strict=True)]
    assert spans[0][0] == 0 and spans[-1][1] == 310
    assert all(a[1] == b[0] for a, b in zip(spans, spans[1:], strict=False))
    assert frames_of(0.0, 99.0, 50) == (0, 50) and frames_of(2.5, None, 50) == (50, 50)


def test_sound_is_fitted_to_the_frame():
    samples = np.arange(1000, dtype=np.float32)
    assert len(fit(samples, 1)) == 640 and len(fit(samples, 2)) == 1280
    assert fit(samples, 2)[1000:].sum() == 0 and fit(samples, 2).dtype == np.float32


def test_a_good_clip(tmp_path):
    sound = chirp(2.0)
    loaded = load_clip(str(write_mp4(tmp_path / "a.mp4", 50, sound)), ClipRules(check="decode"))
    assert loaded.frames == 50 and loaded.samples.shape == (32000,) and not loaded.resampled
    assert np.abs(loaded.samples[8000:24000] - sound[8000:24000]).max() < 0.05


def kind_of(path, **rules) -> str:
    with pytest.raises(Unusable) as caught:
        load_clip(str(path), ClipRules(**rules))
    assert str(path) in caught.value.what
    return caught.value.kind


def test_what_is_left_out(tmp_path):
    whole = write_mp4(tmp_path / "whole.mp4", 50, chirp(2.0), faststart=True)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[:3000])
    assert kind_of(cut) == "corrupt"
    assert kind_of(write_mp4(tmp_path / "mute.mp4", 50)) == "no-audio"
    longer = write_mp4(tmp_path / "longer.mp4", 50, chirp(2.2))
    assert kind_of(longer) == "audio-video"
    assert load_clip(str(longer), ClipRules(max_skew=6)).frames == 50
    assert kind_of(write_mp4(tmp_path / "less.mp4", 50, chirp(1.7))) == "audio-video"


@pytest.mark.parametrize(
    ("frames", "told"),
    [(0.0, ""), (0.9, ""), (-0.9, ""), (1.0, ""), (-1.0, ""), (1.5, "longer"), (-1.5, "shorter")],
)
def test_lengths_apart_by_more_than_a_frame_are_told(tmp_path, frames, told):
    """1.5 frames are between the frame of rounding and the 2 from which on a clip is refused; what
    the codec fills its last block up with is none of it."""
    path = write_mp4(tmp_path / "a.mp4", 50, chirp((50 + frames) / 25))
    loaded = load_clip(str(path), ClipRules())
    assert loaded.frames == 50 and loaded.samples.shape == (32000,)
    assert loaded.skewed == (f"sound 1.50 frames {told} than video" if told else "")
    if told:
        assert kind_of(path, max_skew=0.0) == "audio-video"


def test_other_rates_are_resampled_or_refused(tmp_path):
    ntsc = write_mp4(tmp_path / "n.mp4", 60, chirp(2.0), fps=Fraction(30000, 1001))
    loaded = load_clip(str(ntsc), ClipRules(check="decode"))
    assert loaded.frames == 50 and "29.97" in loaded.resampled
    assert kind_of(ntsc, fps="refuse") == "frame-rate"
    steps = np.where(np.arange(50) % 2 == 0, 0.05, 0.03)
    times = np.concatenate([[0.0], np.cumsum(steps)[:-1]])
    variable = write_mp4(tmp_path / "v.mp4", list(times), chirp(2.0))
    assert "variable" in load_clip(str(variable), ClipRules()).resampled
    assert kind_of(variable, fps="refuse") == "variable-rate"


def test_lengths():
    rules = ClipRules()
    check_length(5, rules, limit=True)
    check_length(500, rules, limit=True)
    check_length(501, rules, limit=False)
    check_length(501, ClipRules(max_seconds=0), limit=True)
    for frames, kind in ((4, "too-short"), (0, "too-short"), (501, "too-long")):
        with pytest.raises(Unusable) as caught:
            check_length(frames, rules, limit=True)
        assert caught.value.kind == kind


@pytest.mark.parametrize("change", [{"fps": "x"}, {"check": "x"}, {"max_skew": -1.0}])
def test_rules_without_a_meaning(change):
    with pytest.raises(UserError, match="--"):
        ClipRules(**change)


BARE = Options(no_feats=True, no_text=True)


@pytest.fixture
def seen(tmp_path):
    """A data directory of three pieces of two videos."""
    wav, video, spans = {}, {}, {"a-1": (0, 30), "a-2": (30, 50), "b-1": (0, 40)}
    for utt in spans:
        wav[utt] = str(tmp_path / "audio" / f"{utt}.flac")
        video[utt] = str(tmp_path / f"{utt[0]}.mp4")
        (tmp_path / "audio").mkdir(exist_ok=True)
        (tmp_path / "audio" / f"{utt}.flac").write_bytes(b"")
        (tmp_path / f"{utt[0]}.mp4").write_bytes(b"")
    frames = {utt: end - first for utt, (first, end) in spans.items()}
    path = tmp_path / "data"
    write_datadir(
        path,
        wav=wav,
        utt2spk={utt: utt[0] for utt in spans},
        utt2dur={utt: count / 25 for utt, count in frames.items()},
        utt2num_samples={utt: count * 640 for utt, count in frames.items()},
        extra={
            "video.scp": video,
            "utt2num_video": frames,
            "video_segments": {utt: f"{a} {b}" for utt, (a, b) in spans.items()},
        },
    )
    return path


def rules(path) -> set[str]:
    return {f"{d.path.rpartition('/')[2]}:{d.rule}" for d in validate(path, BARE).defects}


def test_video_tables(seen):
    assert rules(seen) == set()
    clips = read_clips(DataDir.load(seen))
    assert clips["a-2"].first == 30 and clips["a-2"].frames == 20
    part = Contents.load(seen).select(["a-2", "b-1"])
    assert part.utt["video_segments"] == {"a-2": "30 50", "b-1": "0 40"}
    assert set(part.utt) >= {"video.scp", "utt2num_video"}
    (seen / "video_segments").unlink()
    assert read_clips(DataDir.load(seen))["b-1"] == Clip(clips["b-1"].path, 0, 40)


def test_broken_video_tables(seen, tmp_path):
    write_table(seen / "utt2num_video", {"a-1": 30, "a-2": 21, "b-1": 40})
    assert rules(seen) == {"video_segments:duration", "utt2num_video:audio-video"}
    with pytest.raises(UserError, match="'a-2' has 20 frames, 21 in utt2num_video"):
        read_clips(DataDir.load(seen))
    write_table(seen / "video_segments", {"a-1": "30 0", "a-2": "30 50", "b-1": "0 40"})
    assert "video_segments:segment-frames" in rules(seen)
    with pytest.raises(UserError, match="video_segments:1: 'a-1 30 0'"):
        read_clips(DataDir.load(seen))
    write_table(seen / "video_segments", {"a-1": "0 30", "a-2": "3_0 50", "b-1": "0 40"})
    with pytest.raises(UserError, match="video_segments:2: 'a-2 3_0 50'"):
        read_clips(DataDir.load(seen))
    (tmp_path / "b.mp4").unlink()
    assert "video.scp:no-such-file" in rules(seen)
    (seen / "utt2num_video").unlink()
    assert "utt2num_video:missing-file" in rules(seen)
    write_table(seen / "video.scp", {"a-1": "x.mp4"})
    assert "video.scp:missing-key" in rules(seen)


def ark(data, stem: str, lengths: dict[str, int], **meta) -> None:
    with ArkWriter(data.parent / f"{stem}.ark", data / f"{stem}.scp") as writer:
        for utt, length in lengths.items():
            writer.write(utt, np.zeros(length, dtype=np.int32))
    write_json(data / f"{stem}.json", {"kind": stem, **meta})


def test_units_and_phones_of_text_only(tmp_path):
    data = tmp_path / "text"
    frames = {"t-1": 10, "t-2": 25}
    text = {"t-1": "A", "t-2": "B C"}
    same = {utt: utt for utt in frames}
    tables = {"utt2spk": same, "spk2utt": same, "text": text, "utt2num_frames": frames}
    write_tables(data, tables)
    options = Options(no_feats=True, no_wav=True)
    ark(data, "phones", {"t-1": 40, "t-2": 100}, rate=100)
    ark(data, "labels", frames, rate=25, clusters=1, align="start")
    report = validate(data, options)
    assert not report.defects and not report.warnings
    ark(data, "phones", {"t-1": 10, "t-2": 100}, rate=100)
    ark(data, "labels", {"t-1": 10, "t-2": 26}, rate=25, clusters=1, align="start")
    found = {defect.what for defect in validate(data, options).defects}
    assert found == {
        "'t-1' has 10 frames, 40 expected", "'t-2' has 26 labels, 25 frames",
    }  # fmt: skip


def test_what_begins_with_the_video_is_as_long(seen):
    ark(seen, "labels", {"a-1": 30, "a-2": 20, "b-1": 41}, rate=25, clusters=1, align="start")
    ark(seen, "mouth", {"a-1": 30, "a-2": 19, "b-1": 40}, rate=25, align="start")
    found = [defect.what for defect in validate(seen, BARE).defects]
    assert any("'b-1' has 41 labels, 40 frames" in what for what in found)
    assert any("'a-2' has 19 frames, 20" in what for what in found) and len(found) == 2
