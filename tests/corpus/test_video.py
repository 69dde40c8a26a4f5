"""Video files: the grid of pictures, orientation, sound on the same clock, damaged files."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pylib.corpus.errors import UserError
from pylib.corpus.video import probe, read_audio, read_grey, read_rgb
from tests.corpus.videos import chirp, marked, number_of, rotate_by_metadata, write_mp4

NTSC = Fraction(30000, 1001)


def numbers(path: Path, *args: int) -> list[int]:
    return [number_of(picture) for picture in read_grey(path, *args)]


def test_a_regular_file_gives_its_own_frames(tmp_path):
    path = write_mp4(tmp_path / "a.mp4", 50, chirp(2.0))
    info = probe(path)
    assert (info.frames, info.rate, info.variable, info.frames_at()) == (50, 25.0, False, 50)
    assert (info.width, info.height, info.rotation) == (64, 48, 0)
    assert info.audio_rate == 16000 and abs(info.audio_samples - 32000) <= 1024
    assert info.regular() and info.seconds == 2
    assert numbers(path) == list(range(50))
    assert numbers(path, 13, 7) == list(range(13, 20))
    assert numbers(path, 49) == [49]


def test_pieces_are_found_behind_key_frames(tmp_path):
    for number, more in enumerate(({}, {"flags": "-cgop"}, {"x264-params": "open-gop=1"})):
        encoder = {"g": "12", "bf": "3", **more}
        path = write_mp4(tmp_path / f"{number}.mp4", 58, encoder=encoder)
        assert numbers(path) == list(range(58))
        for first in (1, 11, 12, 13, 24, 37, 57):
            count = min(4, 58 - first)
            assert numbers(path, first, count) == list(range(first, first + count))


def test_a_file_that_begins_late(tmp_path):
    sound = chirp(2.0)
    times = [0.4 + n / 25 for n in range(40)]
    path = write_mp4(tmp_path / "a.mp4", times, sound)
    assert probe(path).frames_at() == 40
    assert numbers(path) == list(range(40)) and numbers(path, 10, 5) == list(range(10, 15))
    heard = read_audio(path)
    assert np.abs(heard[2000:20000] - sound[6400 + 2000 : 6400 + 20000]).max() < 0.05


def test_sound_that_begins_late(tmp_path):
    sound = chirp(1.5)
    path = write_mp4(tmp_path / "a.mp4", 50, sound, sound_from=0.5)
    heard = read_audio(path)
    assert np.abs(heard[:6000]).max() < 0.02
    assert np.abs(heard[10000:24000] - sound[2000:16000]).max() < 0.05


def test_grey_has_the_whole_range(tmp_path):
    def stripes(number: int, width: int, height: int) -> np.ndarray:
        picture = np.zeros((height, width, 3), dtype=np.uint8)
        picture[:, width // 2 :] = 255
        return picture

    path = write_mp4(tmp_path / "a.mp4", 3, picture=stripes)
    grey, colour = next(read_grey(path)), next(read_rgb(path))
    assert grey.dtype == np.uint8 and grey.shape == (48, 64) and colour.shape == (48, 64, 3)
    assert grey[:, :24].max() <= 3 and grey[:, 40:].min() >= 252
    assert colour[:, :24].max() <= 6 and colour[:, 40:].min() >= 249


def test_ntsc_video_is_put_on_the_grid(tmp_path):
    path = write_mp4(tmp_path / "a.mp4", 60, fps=NTSC)
    info = probe(path)
    assert not info.variable and not info.regular() and abs(info.rate - 29.97) < 0.01
    assert info.frames_at() == 50  # 60 frames are 2.002 s
    middles = (np.arange(50) + 0.5) / 25
    assert numbers(path) == [int(t * NTSC) for t in middles]
    assert numbers(path, 20, 10) == [int(t * NTSC) for t in middles[20:30]]


def test_slow_video_repeats_frames(tmp_path):
    path = write_mp4(tmp_path / "a.mp4", 10, fps=Fraction(10))
    assert probe(path).frames_at() == 25
    assert numbers(path) == [int((k + 0.5) / 25 * 10) for k in range(25)]


def test_variable_rate_is_noticed_and_put_on_the_grid(tmp_path):
    steps = np.where(np.arange(40) % 3 == 0, 0.071, 0.031)
    times = np.concatenate([[0.0], np.cumsum(steps)[:-1]])
    path = write_mp4(tmp_path / "a.mp4", list(times))
    info = probe(path)
    assert info.variable and info.frames == 40
    shown = numbers(path)
    assert len(shown) == info.frames_at()
    middles = (np.arange(len(shown)) + 0.5) / 25
    assert shown == list(np.searchsorted(times, middles, side="right") - 1)


def test_rotated_by_metadata(tmp_path):
    path = write_mp4(tmp_path / "a.mp4", 3)
    rotate_by_metadata(path)
    info = probe(path)
    assert (info.width, info.height) == (48, 64) and info.rotation == 270
    picture, colour = next(read_grey(path)), next(read_rgb(path))
    assert picture.shape == (64, 48) and colour.shape == (64, 48, 3)
    # The white top left corner comes to the top right.
    assert picture[:12, -8:].min() > 240 and picture[:12, :8].max() < 40
    assert colour[:12, -8:].min() > 230


def test_pixels_are_made_square(tmp_path):
    path = write_mp4(tmp_path / "a.mp4", 3, size=(72, 64), aspect=Fraction(16, 9))
    info = probe(path)
    assert (info.width, info.height) == (128, 64)
    assert next(read_grey(path)).shape == (64, 128)
    assert next(read_rgb(path)).shape == (64, 128, 3)


def test_other_shapes_are_kept(tmp_path):
    path = write_mp4(tmp_path / "a.mp4", 3, size=(320, 240))
    assert next(read_grey(path)).shape == (240, 320)


def test_sound_keeps_its_place(tmp_path):
    sound = chirp(2.0)
    path = write_mp4(tmp_path / "a.mp4", 50, sound)
    heard = read_audio(path)
    assert heard.dtype == np.float32 and 32000 <= len(heard) <= 32000 + 1024
    window = slice(8000, 24000)
    score = [np.dot(heard[8000 + d : 24000 + d], sound[window]) for d in range(-40, 41)]
    assert int(np.argmax(score)) == 40
    assert np.abs(heard[window] - sound[window]).max() < 0.05


def test_sound_of_another_rate_and_two_channels(tmp_path):
    path = write_mp4(tmp_path / "a.mp4", 50, chirp(2.0, 44100), rate=44100, channels=2)
    assert probe(path).audio_rate == 44100
    heard, sound = read_audio(path), chirp(2.0)
    assert abs(len(heard) - 32000) <= 400
    assert np.abs(heard[8000:24000] - sound[8000:24000]).max() < 0.05


def test_no_sound(tmp_path):
    path = write_mp4(tmp_path / "a.mp4", 5)
    assert (probe(path).audio_rate, probe(path).audio_samples) == (0, 0)
    with pytest.raises(UserError, match=r"a.mp4: has no sound"):
        read_audio(path)


def test_damaged_files(tmp_path):
    with pytest.raises(UserError, match="no such video file"):
        probe(tmp_path / "none.mp4")
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(UserError, match="is empty"):
        probe(tmp_path / "empty.mp4")
    (tmp_path / "text.mp4").write_bytes(b"no video at all " * 50)
    with pytest.raises(UserError, match="not readable as video"):
        probe(tmp_path / "text.mp4")
    whole = write_mp4(tmp_path / "a.mp4", 50, chirp(2.0), faststart=True)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: int(0.8 * os.path.getsize(whole))])
    with pytest.raises(UserError, match=r"cut.mp4: .*(truncated|corrupt|not readable)"):
        probe(cut)
    header_lost = tmp_path / "late.mp4"
    late = write_mp4(tmp_path / "b.mp4", 50, chirp(2.0))
    header_lost.write_bytes(late.read_bytes()[:2000])
    with pytest.raises(UserError, match="not readable as video"):
        list(read_grey(header_lost))


def test_damaged_pictures_are_not_passed_on(tmp_path):
    path = write_mp4(tmp_path / "a.mp4", 50, picture=lambda n, w, h: noise(n, h, w))
    data = bytearray(path.read_bytes())
    middle = data.index(b"mdat") + len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"a.mp4: .*(corrupt|not readable|could be read)"):
        list(read_grey(path))


def noise(seed: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 255, (height, width, 3)).astype(np.uint8)


def test_more_pictures_than_there_are(tmp_path):
    path = write_mp4(tmp_path / "a.mp4", 10)
    with pytest.raises(UserError, match="5 could be read: correct video_segments"):
        list(read_grey(path, 5, 10))
    with pytest.raises(UserError, match="0 could be read"):
        list(read_grey(path, 30))


def test_sound_without_video(tmp_path):
    import av

    path = tmp_path / "a.m4a"
    with av.open(str(path), "w", format="mp4") as out:
        track = out.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(chirp(0.5)[None], format="fltp", layout="mono")
        frame.sample_rate = 16000
        out.mux(track.encode(frame))
        out.mux(track.encode())
    with pytest.raises(UserError, match="no video stream"):
        probe(path)


def test_the_helper_tells_numbers():
    assert number_of(marked(7)[..., 0]) == 7


def test_unknown_codecs_are_refused(tmp_path):
    path = write_mp4(tmp_path / "a.mp4", 10, chirp(0.4))
    data = path.read_bytes()
    assert b"avc1" in data
    path.write_bytes(data.replace(b"avc1", b"zzzz"))
    with pytest.raises(UserError, match="a.mp4: .*: .*leave it out"):
        probe(path)


@pytest.mark.parametrize("times", [[0.0, 0.04, 0.08, 20_000.0], [0.0, 0.04, 700.0]])
def test_a_frame_that_stands_for_minutes_is_refused_with_its_place(tmp_path, times):
    """Absurd times would repeat one picture a million times."""
    path = write_mp4(tmp_path / "v.mp4", times)
    with pytest.raises(UserError, match=r"v.mp4: its frame at 0.0[48]0 s is on show for"):
        probe(path)
    with pytest.raises(UserError, match=r"v.mp4: its frame at 0.0[48]0 s is on show for"):
        sum(1 for _ in read_grey(path))
    assert len(list(read_grey(write_mp4(path, [0.0, 0.04, 5.0])))) > 120
