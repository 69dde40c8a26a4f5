"""Checks of what scp files point at: features of any kind, and cluster labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pylib.corpus.ark import ArkReader
from pylib.corpus.checker import Checker
from pylib.corpus.datadir import VIDEO_RATE
from pylib.corpus.errors import UserError
from pylib.corpus.tables import Table
from pylib.corpus.validate_more import read_json

# Labels may be this many frames off the count that duration and rate give.
LABEL_TOLERANCE = 2
# Clusters of a k-means, at most: a table of so many counts is made.
MOST = 1 << 22
_WINDOW = 0.025  # seconds of the analysis window, of fbank and of the seven convolutions


def _sorted_by_place(table: Table) -> list[tuple[int, str, str]]:
    """(line, key, rx) in the order of files and offsets, so that arks are read forwards."""

    def place(entry: tuple[int, str, str]) -> tuple[str, int]:
        path, _, rest = entry[2].rpartition(":")
        offset = rest.partition("[")[0]
        return path, int(offset) if offset.isdecimal() and len(offset) < 20 else 0

    lines = enumerate(zip(table.keys, table.values, strict=True), 1)
    return sorted(((n, key, rx) for n, (key, rx) in lines if key), key=place)


def check_scp(check: Checker, name: str, table: Table) -> None:
    """Resolve every entry of `name`; with `--check-ark full` read every number too.

    Compares rows with utt2num_frames where the description says that the rates agree, and columns
    with the description's `dim`, else with each other.
    """
    stem = name.removesuffix(".scp")
    meta = read_json(check, f"{stem}.json") if check.exists(f"{stem}.json") else {}
    frames = _frames_of(check, stem, meta)
    full = check.options.check_ark == "full"
    dim = meta.get("dim")
    broken, shapes, values = [], [], []
    with ArkReader() as reader:
        for line, key, rx in _sorted_by_place(table):
            try:
                shape = reader.header(rx, key).shape
                if full or rx.endswith("]"):
                    array = reader.read(rx, key)
                    shape = array.shape
                    if full and not np.isfinite(array).all():
                        values.append((line, f"'{key}' has NaN or infinite values"))
            except UserError as error:
                broken.append((line, str(error)))
                continue
            if 0 in shape:
                shapes.append((line, f"'{key}' is empty, shape {shape}"))
                continue
            if len(shape) == 2:
                dim = shape[1] if dim is None else dim
                if shape[1] != dim:
                    shapes.append((line, f"'{key}' has {shape[1]} columns, {dim} expected"))
            wanted = frames.get(key)
            if wanted is not None and shape[0] != wanted:
                what = f"'{key}' has {shape[0]} frames, {wanted:.0f} expected"
                shapes.append((line, what))
    fix = f"make {stem} again"
    check.add_all(name, "ark", sorted(broken), fix)
    check.add_all(name, "ark-shape", sorted(shapes), fix)
    check.add_all(name, "ark-values", sorted(values), fix)


def _frames_of(check: Checker, stem: str, meta: dict[str, object]) -> dict[str, float]:
    if meta.get("align") == "start" or stem == "phones":
        return _frames_of_video(check, meta.get("rate"))
    if stem == "logfbank":
        # Its last window may be filled up, so that N = 640 T samples have 4 T - 1 frames.
        video = check.numbers.get("utt2num_video", {})
        return {utt: 4 * count - 1 for utt, count in video.items()}
    frames = check.numbers.get("utt2num_frames", {})
    if stem == "feats":
        return frames
    feats = read_json(check, "feats.json") if check.exists("feats.json") else {}
    rate = feats.get("rate", 100)
    return frames if stem != "cmvn" and meta.get("rate") == rate else {}


def _frames_of_video(check: Checker, rate: object) -> dict[str, float]:
    """Frames of what begins with the first frame of video, or of a set that has text only."""
    if not isinstance(rate, int | float) or rate % VIDEO_RATE:
        return {}
    video = check.numbers.get("utt2num_video")
    if video is None and not check.exists("wav.scp"):
        video = check.numbers.get("utt2num_frames")
    return {utt: count * rate / VIDEO_RATE for utt, count in (video or {}).items()}


def check_labels(check: Checker, table: Table) -> None:
    """Check cluster labels: description, lengths, ids; usage and perplexity go to the facts."""
    name = "labels.scp"
    if not check.exists("labels.json"):
        fix = "label the data again with steps/dump_labels.sh"
        check.add("labels.json", 0, "missing-file", "labels without rate and clusters", fix)
        return
    meta = read_json(check, "labels.json")
    rate, clusters = meta.get("rate"), meta.get("clusters")
    if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 < rate < 1e6:
        check.add("labels.json", 0, "label-rate", f"rate {rate!r}", "write the rate in Hz")
        return
    if not isinstance(clusters, int) or isinstance(clusters, bool) or not 0 < clusters <= MOST:
        check.add("labels.json", 0, "label-clusters", f"clusters {clusters!r}", "write K")
        return
    broken, ids = [], []
    lengths: dict[str, tuple[int, int]] = {}
    counts = np.zeros(clusters, dtype=np.int64)
    with ArkReader() as reader:
        for line, key, rx in _sorted_by_place(table):
            try:
                labels = reader.read(rx, key)
            except UserError as error:
                broken.append((line, str(error)))
                continue
            if labels.dtype != np.int32 or labels.ndim != 1 or not len(labels):
                broken.append((line, f"'{key}' is {labels.dtype} {labels.shape}, not int32 (T,)"))
                continue
            # Unsigned, a negative id is a huge one: one pass finds both.
            if labels.view(np.uint32).max() >= clusters:
                span = f"{labels.min()} to {labels.max()}"
                ids.append((line, f"'{key}' has ids {span}, allowed 0 to {clusters - 1}"))
            else:
                counts += np.bincount(labels, minlength=clusters)
            lengths[key] = (line, len(labels))
    fix = "label the data again with steps/dump_labels.sh"
    check.add_all(name, "ark", sorted(broken), fix)
    check.add_all(name, "label-id", sorted(ids), "the labels are of another k-means model: " + fix)
    exact = _frames_of_video(check, rate) if meta.get("align") == "start" else {}
    if exact:
        _check_exact_lengths(check, lengths, exact)
    else:
        _check_label_lengths(check, lengths, float(rate))
    _report_usage(check, counts, float(rate))


def _check_exact_lengths(
    check: Checker, lengths: dict[str, tuple[int, int]], wanted: dict[str, float]
) -> None:
    found = [
        (line, f"'{utt}' has {length} labels, {wanted[utt]:.0f} frames")
        for utt, (line, length) in lengths.items()
        if utt in wanted and wanted[utt] != length
    ]
    fix = "label the data again with --rate 25 --align start"
    check.add_all("labels.scp", "label-length", sorted(found), fix)


def _check_label_lengths(check: Checker, lengths: dict[str, tuple[int, int]], rate: float) -> None:
    durations = check.numbers.get("utt2dur")
    if durations is None:
        check.report.warnings.append(
            f"{check.path}/labels.scp: lengths not checked, there is no utt2dur: "
            f"run steps/get_utt2dur.sh {check.path}"
        )
        return
    known = [utt for utt in lengths if utt in durations]
    if not known:
        return
    total = sum(max(durations[utt] - _WINDOW, 1e-3) for utt in known)
    implied = sum(lengths[utt][1] for utt in known) / total
    fix = "label the data again at the right rate with steps/dump_labels.sh --rate"
    # One frame in ten short utterances is no other rate; a factor of two is.
    if not 0.75 < implied / rate < 1.33:
        what = f"labels.json says {rate:g} Hz, the lengths are those of about {implied:.1f} Hz"
        check.add("labels.json", 0, "label-rate", what, fix)
    found = []
    for utt in known:
        line, length = lengths[utt]
        wanted = max(0, int((durations[utt] - _WINDOW) * rate + 1e-6)) + 1
        if abs(length - wanted) > LABEL_TOLERANCE:
            what = f"'{utt}' has {length} labels, {wanted} +- {LABEL_TOLERANCE} expected"
            found.append((line, f"{what} ({durations[utt]:g} s at {rate:g} Hz)"))
    check.add_all("labels.scp", "label-length", sorted(found), fix)


def _report_usage(check: Checker, counts: npt.NDArray[Any], rate: float) -> None:
    total = int(counts.sum())
    if not total:
        return
    share = counts[counts > 0] / total
    perplexity = float(np.exp(-(share * np.log(share)).sum()))
    used = int((counts > 0).sum())
    check.report.facts["labels"] = {
        "frames": total,
        "rate": rate,
        "clusters": len(counts),
        "used": used,
        "perplexity": round(perplexity, 3),
        "largest_share": round(float(share.max()), 5),
    }
    if used == 1 and len(counts) > 1:
        what = f"all {total} labels are one of {len(counts)} clusters"
        fix = "the k-means model or its features are broken: train it again"
        check.add("labels.scp", 0, "label-collapse", what, fix)
