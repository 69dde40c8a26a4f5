"""Checks of audio-visual data directories: videos there, counted, as long as their sound."""

from __future__ import annotations

from pylib.corpus.checker import Checker
from pylib.corpus.datadir import VIDEO_RATE
from pylib.corpus.validate import missing_files


def check_video(check: Checker) -> None:
    """Check video.scp, video_segments and utt2num_video against each other and the samples."""
    if not check.exists("video.scp"):
        return
    table = check.table("video.scp")
    check.same_keys(table, "video.scp", check.utt2spk, "utt2spk")
    empty = [
        (n, f"'{k}' has no path")
        for n, (k, v) in enumerate(zip(table.keys, table.values, strict=True), 1)
        if not v
    ]
    check.add_all("video.scp", "no-path", empty, "give each utterance a video file")
    gone = missing_files((n, value) for n, value in enumerate(table.values, 1) if value)
    fix = "correct the path (relative paths start where the recipe runs) or get the file"
    found = [(n, f"'{path}' does not exist") for n, path in gone]
    check.add_all("video.scp", "no-such-file", found, fix)
    if not check.exists("utt2num_video"):
        fix = "prepare the data again: frames of video at 25 a second, one '<utt> <int>' a line"
        check.add("utt2num_video", 0, "missing-file", "no such file", fix)
        return
    if check.exists("video_segments"):
        _check_segments(check)
    _check_samples(check)


def _check_segments(check: Checker) -> None:
    name = "video_segments"
    table = check.table(name, fields=3)
    check.same_keys(table, name, check.utt2spk, "utt2spk")
    frames = check.numbers["utt2num_video"]
    bad, differ = [], []
    for line, (utt, value) in enumerate(zip(table.keys, table.values, strict=True), 1):
        try:
            first, end = map(int, value.split())
        except ValueError:
            first, end = 0, -1
        if not 0 <= first < end:
            bad.append((line, f"'{utt} {value}', 0 <= first < end needed"))
        elif utt in frames and frames[utt] != end - first:
            what = f"'{utt}' has {end - first} frames here, {frames[utt]:.0f} in utt2num_video"
            differ.append((line, what))
    check.add_all(name, "segment-frames", bad, "correct the frames (25 a second)")
    check.add_all(name, "duration", differ, "prepare the data again")


def _check_samples(check: Checker) -> None:
    """Sound and video are equally long to the sample; the rate is what the seconds tell."""
    samples, durations = check.numbers.get("utt2num_samples"), check.numbers.get("utt2dur")
    if samples is None or durations is None:
        return
    found = []
    for line, (utt, frames) in enumerate(check.numbers["utt2num_video"].items(), 1):
        if utt not in samples or utt not in durations:
            continue
        rate = round(samples[utt] / durations[utt])
        if abs(samples[utt] * VIDEO_RATE - frames * rate) > VIDEO_RATE:
            seconds = samples[utt] / rate
            what = f"'{utt}' has {frames:.0f} frames ({frames / VIDEO_RATE:g} s) of video and"
            found.append((line, f"{what} {samples[utt]:.0f} samples ({seconds:g} s)"))
    fix = "cut the sound to the video: prepare the data again"
    check.add_all("utt2num_video", "audio-video", found, fix)
