"""Checks of durations against each other, and of the small optional files."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pylib.corpus.checker import DURATION_TOLERANCE, FRAMES_TOLERANCE, Checker
from pylib.corpus.errors import UserError
from pylib.corpus.jsonfile import read_object
from pylib.corpus.tables import parse_number

# utt2num_samples and utt2dur must fit one of these (Hz); a directory may mix them.
RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000)


def frame_shift(check: Checker) -> float:
    """Seconds between frames of feats.scp: from `frame_shift`, else `feats.json`, else 10 ms."""
    if check.exists("frame_shift"):
        try:
            return parse_number((check.path / "frame_shift").read_text("utf-8").strip(), float)
        except ValueError:
            return 0.01
    if check.exists("feats.json"):
        rate = read_json(check, "feats.json").get("rate")
        if isinstance(rate, int | float) and rate > 0:
            return 1.0 / rate
    return 0.01


def read_json(check: Checker, name: str) -> dict[str, object]:
    """A JSON object of the directory; a defect and {} where it is none."""
    try:
        return read_object(check.path / name, "make it again")
    except UserError as error:
        reason = str(error).removeprefix(f"{check.path / name}: ").removesuffix(": make it again")
    check.add(name, 0, "json", reason, "make it again")
    return {}


def check_durations(check: Checker) -> None:
    """Compare utt2dur with segments, samples and frames."""
    durations = check.numbers.get("utt2dur")
    if durations is None:
        return
    if check.segments is not None:
        lengths = {utt: end - begin for utt, (_, begin, end) in check.segments.items()}
        _compare(check, "segments", lengths, lambda x: x, DURATION_TOLERANCE)
    samples = check.numbers.get("utt2num_samples")
    if samples is not None:
        utts = [utt for utt in samples if utt in durations]
        counts = np.array([samples[utt] for utt in utts])
        wanted = np.array([durations[utt] for utt in utts])
        rates = (check.options.rate,) if check.options.rate else RATES
        fits = np.zeros(len(utts), dtype=bool)
        for rate in rates:
            fits |= np.abs(counts / rate - wanted) <= DURATION_TOLERANCE
        # A rate out of the ordinary is fine where all files share it.
        if len(utts) and not check.options.rate and not fits.all():
            common = float(np.median(counts / wanted))
            fits |= np.abs(counts / common - wanted) <= DURATION_TOLERANCE
        found = [
            (0, f"'{utts[i]}' has {counts[i]:.0f} samples and {wanted[i]:g} s in utt2dur")
            for i in np.flatnonzero(~fits)
        ]
        fix = "make both again with steps/get_utt2dur.sh"
        check.add_all("utt2num_samples", "duration", found, fix)
    frames = check.numbers.get("utt2num_frames")
    if frames is not None:
        shift = frame_shift(check)
        _compare(check, "utt2num_frames", frames, lambda x: x * shift, FRAMES_TOLERANCE)


def _compare(
    check: Checker,
    name: str,
    numbers: dict[str, float],
    seconds: Callable[[float], float],
    tolerance: float,
) -> None:
    durations = check.numbers["utt2dur"]
    found = []
    for line, (utt, number) in enumerate(numbers.items(), 1):
        wanted = durations.get(utt)
        if wanted is not None and abs(seconds(number) - wanted) > tolerance:
            what = f"'{utt}' lasts {seconds(number):.3f} s by this file, {wanted:g} s by utt2dur"
            found.append((line, f"{what} (tolerance {tolerance} s)"))
    check.add_all(name, "duration", found, "make the wrong one of the two again")


def check_small_files(check: Checker) -> None:
    """Check the optional tables, frame_shift and phone times."""
    for name in ("utt2lang", "utt2uniq"):
        if check.exists(name):
            check.same_keys(check.table(name, 2), name, check.utt2spk, "utt2spk")
    speakers = dict.fromkeys(sorted(set(check.utt2spk.values())))
    if check.exists("spk2gender"):
        table = check.table("spk2gender", 2)
        check.same_keys(table, "spk2gender", speakers, "utt2spk's speakers")
        lines = enumerate(table.values, 1)
        bad = [
            (n, f"'{v}', expected m or f in lower case") for n, v in lines if v not in ("m", "f")
        ]
        check.add_all("spk2gender", "gender", bad, "correct this line")
    for name, wanted in (("spk2warp", speakers), ("utt2warp", check.utt2spk)):
        if check.exists(name):
            table = check.table(name, 2)
            check.same_keys(table, name, wanted, "utt2spk")
            lines = enumerate(table.values, 1)
            bad = [(n, f"'{v}' is not within (0.5, 1.5)") for n, v in lines if not _is_warp(v)]
            check.add_all(name, "warp", bad, "correct this line")
    if check.exists("reco2file_and_channel"):
        name = "reco2file_and_channel"
        table = check.table(name, 3)
        if check.wav:
            check.same_keys(table, name, check.wav, "wav.scp")
        lines = enumerate(table.values, 1)
        bad = [(n, f"channel '{v[-1:]}'") for n, v in lines if v.split()[-1:] not in (["A"], ["B"])]
        check.add_all(name, "channel", bad, "the channel is A or B")
    if check.exists("frame_shift"):
        _check_frame_shift(check)
    for name in ("phones.ctm", "words.ctm"):
        if check.exists(name):
            _check_ctm(check, name)


def _is_warp(value: str) -> bool:
    try:
        return 0.5 < parse_number(value, float) < 1.5
    except ValueError:
        return False


def _check_frame_shift(check: Checker) -> None:
    words = (check.path / "frame_shift").read_text(encoding="utf-8", errors="replace").split()
    try:
        good = len(words) == 1 and 0 < parse_number(words[0], float) < 1
    except ValueError:
        good = False
    if not good:
        what = f"'{' '.join(words)[:40]}' is not one number of seconds"
        check.add("frame_shift", 1, "number", what, "write the shift, for example 0.01")


def _check_ctm(check: Checker, name: str) -> None:
    """Lines `<utt> <channel> <start> <dur> <token>`; utterances known, times within them."""
    durations = check.numbers.get("utt2dur", {})
    found = []
    with open(check.path / name, encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream, 1):
            parts = line.split()
            try:
                if len(parts) < 5 or parts[0] not in check.utt2spk:
                    raise ValueError
                start, length = (parse_number(part, float) for part in parts[2:4])
                # Phone times come rounded to 10 ms or finer.
                if start < 0 or length < 0 or start + length > durations.get(parts[0], 1e9) + 0.05:
                    raise ValueError
            except ValueError:
                found.append((number, f"'{line.strip()[:60]}'"))
    fix = "expected '<utt> 1 <start s> <dur s> <name>' within a known utterance"
    check.add_all(name, "ctm", found, fix)
