"""Everything that can be wrong with a data directory, found in one run.

Each check appends `Defect`s instead of stopping, so that a user mends all at once. What needs
audio or arks lies in `validate_audio` and `validate_arks`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from pylib.corpus.checker import Checker, Options, Report
from pylib.corpus.datadir import SEGMENT_OVERSHOOT
from pylib.corpus.errors import UserError
from pylib.corpus.layout import FIELDS, data_files, key_of
from pylib.corpus.tables import Table, invert, parse_number
from pylib.corpus.validate_text import check_text


def validate(path: str | os.PathLike[str], options: Options) -> Report:
    """Check a data directory and report all that is wrong with it.

    Raises:
        UserError: the directory does not exist.
    """
    check = Checker(path, options)
    if not check.path.is_dir():
        raise UserError(f"{check.path}: no such data directory: check the name")
    _check_speakers(check)
    if not options.no_text:
        _check_text_file(check)
    if check.exists("segments"):
        _read_segments(check)
    if not options.no_wav:
        _check_wav(check)
    _check_numbers(check)
    _check_segment_ends(check)
    from pylib.corpus.validate_more import check_durations, check_small_files
    from pylib.corpus.validate_video import check_video

    check_durations(check)
    check_video(check)
    check_small_files(check)
    if options.check_audio != "none" and not options.no_wav:
        from pylib.corpus.validate_audio import check_audio

        check_audio(check)
    _check_scps(check)
    return check.report


def _check_speakers(check: Checker) -> None:
    if not check.exists("utt2spk"):
        check.add("utt2spk", 0, "missing-file", "no such file", "make it: one '<utt> <spk>' a line")
        return
    table = check.table("utt2spk", fields=2)
    check.utt2spk = table.rows
    check.report.utterances = len(table.rows)
    if not table.rows:
        check.add("utt2spk", 0, "empty-file", "no utterances", "prepare the data again")
        return
    speakers = set(table.rows.values())
    if len(speakers) == 1 and len(table.rows) > 1:
        check.report.warnings.append(
            f"{check.path}/utt2spk: one speaker only, '{next(iter(speakers))}': where speakers "
            "are not known, make each utterance its own speaker"
        )
    if not check.options.no_spk_sort:
        _check_speaker_order(check, table)
    if not check.exists("spk2utt"):
        fix = "run steps/fix_data_dir.sh, it is derived from utt2spk"
        check.add("spk2utt", 0, "missing-file", "no such file", fix)
        return
    spk2utt = check.table("spk2utt")
    inverse = invert(table.rows)
    check.same_keys(spk2utt, "spk2utt", inverse, "utt2spk's speakers")
    found = []
    for line, (spk, value) in enumerate(zip(spk2utt.keys, spk2utt.values, strict=True), 1):
        if spk in inverse and value.split(" ") != inverse[spk]:
            found.append((line, f"utterances of '{spk}' differ from utt2spk's"))
    check.add_all("spk2utt", "inverse", found, "run steps/fix_data_dir.sh, it is derived")


def _check_speaker_order(check: Checker, table: Table) -> None:
    previous_spk, previous_line = "", 0
    for line, (utt, spk) in enumerate(zip(table.keys, table.values, strict=True), 1):
        if spk < previous_spk:
            what = (
                f"sorted by utterance, '{utt} {spk}' follows "
                f"'{table.keys[previous_line - 1]} {previous_spk}' (line {previous_line}), but the "
                "speakers sort the other way"
            )
            fix = "begin utterance ids with the speaker and '-', or use --no-spk-sort"
            check.add("utt2spk", line, "speaker-order", what, fix)
            return
        previous_spk, previous_line = spk, line


def _check_text_file(check: Checker) -> None:
    if not check.exists("text"):
        fix = "add transcripts, or use --no-text where there are none"
        check.add("text", 0, "missing-file", "no such file", fix)
        return
    table = check.table("text")
    check.same_keys(table, "text", check.utt2spk, "utt2spk")
    for rule, found, fix in check_text(
        table, check.options.allow_empty_text, check.options.non_print
    ):
        check.add_all("text", rule, found, fix)


def _read_segments(check: Checker) -> None:
    table = check.table("segments", fields=4)
    check.same_keys(table, "segments", check.utt2spk, "utt2spk")
    check.segments = {}
    found = []
    for line, (utt, value) in enumerate(zip(table.keys, table.values, strict=True), 1):
        parts = value.split()
        if len(parts) != 3:
            continue
        try:
            begin, end = parse_number(parts[1], float), parse_number(parts[2], float)
        except ValueError:
            begin, end = 1.0, 0.0
        if 0 <= begin < end:
            check.segments[utt] = (parts[0], begin, end)
        else:
            found.append((line, f"'{utt}' from {parts[1]} to {parts[2]}, 0 <= begin < end needed"))
    check.add_all("segments", "segment-times", found, "correct the times (seconds)")


def _check_wav(check: Checker) -> None:
    if not check.exists("wav.scp"):
        fix = "add it, or use --no-wav where there is no audio"
        check.add("wav.scp", 0, "missing-file", "no such file", fix)
        return
    table = check.table("wav.scp")
    if check.segments is None:
        check.same_keys(table, "wav.scp", check.utt2spk, "utt2spk")
    else:
        recos = dict.fromkeys(sorted({reco for reco, _, _ in check.segments.values()}))
        check.same_keys(table, "wav.scp", recos, "segments")
    paths, empty, pipes = [], [], []
    for line, (key, value) in enumerate(zip(table.keys, table.values, strict=True), 1):
        if not value:
            empty.append((line, f"'{key}' has no path"))
        elif value[-1] == "|" or value[0] in "|-":
            pipes.append((line, f"'{key}' is a shell pipe or standard input: '{value[:60]}'"))
        elif value[0] == "~":
            pipes.append((line, f"'{key}' begins with ~, which only a shell expands: '{value}'"))
        else:
            paths.append((line, value))
            check.wav.setdefault(key, value)
    check.add_all("wav.scp", "no-path", empty, "give each recording an audio file")
    check.add_all("wav.scp", "not-a-file", pipes, "convert the audio once and list the files")
    gone = missing_files(paths)
    fix = "correct the path (relative paths start where the recipe runs) or get the file"
    check.add_all("wav.scp", "no-such-file", [(n, f"'{p}' does not exist") for n, p in gone], fix)
    if not check.options.allow_duplicate_audio:
        _check_same_audio(check, table)


def missing_files(paths: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
    """Those of (line, path) that are no plain files; one directory listing serves many files."""
    folders: dict[str, list[tuple[int, str]]] = {}
    for line, path in paths:
        folders.setdefault(os.path.dirname(path), []).append((line, path))
    gone = []
    for folder, members in folders.items():
        if len(members) < 4:
            gone += [(line, path) for line, path in members if not os.path.isfile(path)]
            continue
        try:
            with os.scandir(folder or ".") as entries:
                present = {entry.name for entry in entries if entry.is_file()}
        except OSError:
            present = set()
        gone += [(n, path) for n, path in members if os.path.basename(path) not in present]
    return sorted(gone)


def _check_same_audio(check: Checker, table: Table) -> None:
    name, stretches = "wav.scp", {key: (value,) for key, value in table.rows.items() if value}
    lines: Mapping[str, tuple[object, ...]] = stretches
    if check.segments is not None:
        name = "segments"
        wav = check.wav
        lines = {u: (wav.get(r, r), begin, end) for u, (r, begin, end) in check.segments.items()}
    if len(set(lines.values())) == len(lines):
        return
    first: dict[tuple[object, ...], str] = {}
    found = []
    for number, (utt, stretch) in enumerate(lines.items(), 1):
        if stretch in first:
            found.append((number, f"'{utt}' and '{first[stretch]}' are the same audio"))
        else:
            first[stretch] = utt
    check.add_all(name, "same-audio", found, "remove one, or use --allow-duplicate-audio")


def _check_numbers(check: Checker) -> None:
    for name in ("utt2dur", "utt2num_samples", "utt2num_frames", "utt2num_video"):
        if check.exists(name):
            table = check.table(name, fields=2)
            check.same_keys(table, name, check.utt2spk, "utt2spk")
            check.keep_numbers(name, table, integer=name != "utt2dur")
    if check.exists("reco2dur"):
        table = check.table("reco2dur", fields=2)
        if not check.options.no_wav:
            check.same_keys(table, "reco2dur", check.wav, "wav.scp")
        check.keep_numbers("reco2dur", table, integer=False)


def _check_segment_ends(check: Checker) -> None:
    durations = check.numbers.get("reco2dur")
    if check.segments is None or durations is None:
        return
    found = []
    for line, (utt, (reco, _, end)) in enumerate(check.segments.items(), 1):
        total = durations.get(reco)
        if total is not None and end > total + SEGMENT_OVERSHOOT:
            found.append((line, f"'{utt}' ends at {end:g} s, its recording at {total:g} s"))
    check.add_all("segments", "segment-end", found, "correct the times, or reco2dur")


def _check_scps(check: Checker) -> None:
    from pylib.corpus.validate_arks import check_labels, check_scp

    names = [
        n
        for n in data_files(check.path)
        if n.endswith(".scp") and n not in ("wav.scp", "video.scp")
    ]
    if "feats.scp" not in names and not check.options.no_feats:
        fix = "make features, or use --no-feats"
        check.add("feats.scp", 0, "missing-file", "no such file", fix)
    speakers = dict.fromkeys(sorted(set(check.utt2spk.values())))
    for name in names:
        if name == "feats.scp" and check.options.no_feats:
            continue
        table = check.table(name, FIELDS.get(name))
        if key_of(name) == "spk":
            check.same_keys(table, name, speakers, "utt2spk's speakers")
        else:
            check.same_keys(table, name, check.utt2spk, "utt2spk")
        if name == "roi.scp":
            gone = missing_files((n, v.rpartition(":")[0] or v) for n, v in _entries(table))
            found = [(n, f"'{p}' does not exist") for n, p in gone]
            check.add_all(name, "no-such-file", found, "make the regions again")
        elif check.options.check_ark != "none":
            if name == "labels.scp":
                check_labels(check, table)
            else:
                check_scp(check, name, table)


def _entries(table: Table) -> Iterable[tuple[int, str]]:
    return ((n, value) for n, value in enumerate(table.values, 1) if value)
