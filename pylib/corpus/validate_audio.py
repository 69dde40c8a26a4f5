"""Checks of the audio itself: readable, mono, one rate, as long as the tables say."""

from __future__ import annotations

from collections import Counter

from pylib.corpus.checker import DURATION_TOLERANCE, Checker
from pylib.corpus.datadir import SEGMENT_OVERSHOOT, Segment
from pylib.corpus.headers import AudioFile, inspect_files


def check_audio(check: Checker) -> None:
    """Open every file of wav.scp; `--check-audio full` decodes them too."""
    level = "full" if check.options.check_audio == "full" else "tail"
    paths = list(dict.fromkeys(check.wav.values()))
    files = dict(inspect_files(paths, level, check.options.nj))
    line_of = {key: line for line, key in enumerate(check.wav, 1)}
    broken, many = [], []
    good: dict[str, AudioFile] = {}
    for reco, path in check.wav.items():
        found = files[path]
        if found.error:
            broken.append((line_of[reco], found.error))
        elif found.channels != 1:
            many.append((line_of[reco], f"{path} has {found.channels} channels, mono expected"))
        else:
            good[reco] = found
    check.add_all("wav.scp", "audio", broken, "mend or replace the file, or leave it out")
    check.add_all("wav.scp", "channels", many, "extract one channel")
    _check_rates(check, good, line_of)
    _check_lengths(check, good)
    seconds = sum(found.samples / found.rate for found in good.values())
    check.report.facts["audio"] = {
        "files": len(paths),
        "hours": round(seconds / 3600, 4),
        "rates": {str(k): v for k, v in Counter(f.rate for f in good.values()).items()},
    }


def _check_rates(check: Checker, good: dict[str, AudioFile], line_of: dict[str, int]) -> None:
    rates = Counter(found.rate for found in good.values())
    if not rates:
        return
    wanted = check.options.rate or rates.most_common(1)[0][0]
    source = "declared" if check.options.rate else "the rate of most files"
    wrong = [
        (line_of[reco], f"{check.wav[reco]} has {found.rate} Hz, {wanted} is {source}")
        for reco, found in good.items()
        if found.rate != wanted
    ]
    check.add_all("wav.scp", "rate", wrong, "convert the file, or state the rate with --rate")


def _check_lengths(check: Checker, good: dict[str, AudioFile]) -> None:
    ends, samples, seconds = [], [], []
    declared = check.numbers.get("utt2num_samples", {})
    durations = check.numbers.get("utt2dur", {})
    for line, utt in enumerate(check.utt2spk, 1):
        segment = None
        reco = utt
        if check.segments is not None:
            if utt not in check.segments:
                continue
            reco, begin, end = check.segments[utt]
            segment = Segment(reco, begin, end)
        found = good.get(reco)
        if found is None:
            continue
        count = found.samples
        if segment is not None:
            start, stop = segment.samples(found.rate)
            if stop > count + SEGMENT_OVERSHOOT * found.rate:
                what = f"'{utt}' ends at {segment.end:g} s, its recording at"
                ends.append((line, f"{what} {count / found.rate:.3f} s"))
                continue
            count = min(stop, count) - start
        if utt in declared and declared[utt] != count:
            samples.append((line, f"'{utt}' has {count} samples, {declared[utt]:.0f} here"))
        if utt in durations and abs(durations[utt] - count / found.rate) > DURATION_TOLERANCE:
            what = f"'{utt}' lasts {count / found.rate:.3f} s, {durations[utt]:g} s here"
            seconds.append((line, f"{what} (tolerance {DURATION_TOLERANCE} s)"))
    check.add_all("segments", "segment-end", ends, "correct the times (seconds)")
    fix = "make it again with steps/get_utt2dur.sh"
    check.add_all("utt2num_samples", "duration", samples, fix)
    check.add_all("utt2dur", "duration", seconds, fix)
