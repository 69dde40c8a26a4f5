"""Tables of audio-visual systems: error rates by modality and noise, what layers make of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from pylib.scoring.collect import Row
from pylib.scoring.measure_tables import Section, Table, cell, label, labelled, run_name, seeds

# What is seen in decoding, in reading order: both, sound, lips.
MODALITIES = ("av", "a", "v")
# The words of lips held against other clips, what steps/swap_clips.sh makes: a guess without input.
OTHER = "v_other"
GUESS = "; v_other: words read from the lips of other clips, a guess that knows the language alone"
NAMES = {"av": "sound and lips", "a": "sound", "v": "lips", "p": "phones"}
# Agreement with an alignment is not agreement with a listener, above all where phones are shown.
ALIGNED = " (phone times by forced alignment with the text, not known)"
_NOISE = re.compile(r"(.+)_(babble|music|natural|speech)_(-?[0-9]+(?:\.[0-9]+)?)")
_LAYER = re.compile(r"layer([0-9]+)/((?:av|a|v|p)(?:->(?:av|a|v|p))?)")


def split_set(name: Any) -> tuple[str, str, float | None]:
    """`test_babble_-5` -> (`test`, `babble`, -5.0); without noise (name, '', None)."""
    match = _NOISE.fullmatch(str(name))
    return (match[1], match[2], float(match[3])) if match else (str(name), "", None)


def is_clean(row: Row) -> bool:
    """Whether a row is of speech without added noise."""
    return split_set(row["set"])[2] is None


def has_modalities(rows: Iterable[Row]) -> bool:
    """Whether a report is of audio-visual recognition and has these tables."""
    return any(is_rate(row) for row in rows)


def is_modal(row: Row) -> bool:
    """Whether a row belongs to a table of layers by modality."""
    named = _LAYER.fullmatch(str(row["decode"]))
    return row["measure"] in ("pnmi", "retrieval") and named is not None


def is_rate(row: Row) -> bool:
    """Whether a row is an error rate of a decoding of one modality."""
    return row["measure"] in ("wer", "cer") and row["decode"] in MODALITIES


def is_guess(row: Row) -> bool:
    """Whether a row is the error rate of words that were read from other clips."""
    return row["measure"] in ("wer", "cer") and row["decode"] == OTHER


def _order(name: Any) -> tuple[bool, str]:
    """Development sets before others."""
    return (not str(name).startswith("dev"), str(name))


def _table(
    rows: Sequence[Row],
    title: str,
    heads: Sequence[str],
    line_of: Callable[[Row], tuple[str, ...]],
    columns: Sequence[tuple[str, Callable[[Row], bool]]],
    order: Callable[[tuple[str, ...]], Any],
) -> Table:
    """Lines of rows alike under `line_of`, with the single runs where seeds were put together."""

    def lines(single: bool) -> list[list[str]]:
        groups: dict[tuple[str, ...], list[Row]] = {}
        for row in rows:
            key = line_of(row)
            groups.setdefault(
                (*key, str(row["seed"]), run_name(row)) if single else key, []
            ).append(row)
        out = []
        for key in sorted(groups, key=lambda k: (order(k), k)):
            own = groups[key]
            cells = [cell([row for row in own if wanted(row)]) for _, wanted in columns]
            middle = [key[-2], key[-1]] if single else [seeds(own)]
            out.append([*key[: len(heads)], *middle, *cells])
        return out

    names = [name for name, _ in columns]
    together, single = lines(False), lines(True)
    runs = None
    if len(single) > len(together):
        runs = Table(
            f"{title}: single runs", [*heads, "seed", "run", *names], single, len(heads) + 2
        )
    return Table(title, [*heads, "seeds", *names], together, len(heads), runs)


def clean_table(rows: Sequence[Row], measure: str) -> Table | None:
    """One error rate without noise: a line for each system, a column for each set and modality,
    the guess without input last."""
    shown = [row for row in rows if is_rate(row) or is_guess(row)]
    rows = [row for row in shown if row["measure"] == measure and is_clean(row)]
    if not rows:
        return None
    found = {(row["set"], row["decode"]) for row in rows}
    order = (*MODALITIES, OTHER)
    pairs = sorted(found, key=lambda p: (_order(p[0]), order.index(p[1])))

    def column(pair: tuple[Any, Any]) -> tuple[str, Callable[[Row], bool]]:
        return f"{pair[0]} {pair[1]}", lambda row: (row["set"], row["decode"]) == pair

    return _table(
        rows, label(measure), ["system"], lambda row: (row["system"],),
        [column(pair) for pair in pairs], lambda key: key[0],
    )  # fmt: skip


def _with_mean(rows: Sequence[Row], ratios: Sequence[float]) -> list[Row]:
    """Rows in noise, and for each run that has all ratios their mean, with the set `mean`."""
    out = list(rows)
    runs: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        key = (row["system"], row["seed"], run_name(row), row["decode"])
        runs.setdefault(key, []).append(row)
    for own in runs.values():
        if len(own) == len(ratios) > 1:
            value = fmean(row["value"] for row in own)
            out.append({**own[0], "set": "mean", "value": value, "low": None, "high": None})
    return out


def noise_table(rows: Sequence[Row], base: str, category: str) -> Table:
    """WER of one set in one noise: a line for each system and modality, a column for each ratio.

    Lips hear no noise: their line has the clean value alone.
    """
    rates = [row for row in rows if row["measure"] == "wer" and is_rate(row)]
    noisy = [row for row in rates if split_set(row["set"])[:2] == (base, category)]
    ratios = sorted({float(split_set(row["set"])[2] or 0.0) for row in noisy})
    systems = {row["system"] for row in noisy}
    clean = [r for r in rates if r["set"] == base and r["system"] in systems]
    columns: list[tuple[str, Callable[[Row], bool]]] = [
        (f"{ratio:g} dB", lambda row, ratio=ratio: split_set(row["set"])[2] == ratio)  # type: ignore[misc]
        for ratio in ratios
    ]
    if len(ratios) > 1:
        columns.append(("mean", lambda row: row["set"] == "mean"))
    columns.append(("clean", lambda row: row["set"] == base))
    return _table(
        [*_with_mean(noisy, ratios), *clean],
        f"{label('wer')}, {base} in {category}, by signal-to-noise ratio",
        ["system", "seen"],
        lambda row: (row["system"], row["decode"]),
        columns,
        lambda key: (key[0], MODALITIES.index(key[1])),
    )


def layer_table(rows: Sequence[Row], measure: str, name: str) -> Table | None:
    """PNMI or retrieval of a set: a line for each system and modality, a column for each layer."""
    own = [
        (row, match)
        for row in rows
        if row["measure"] == measure and row["set"] == name
        and (match := _LAYER.fullmatch(str(row["decode"])))
    ]  # fmt: skip
    if not own:
        return None
    layers = sorted({int(match[1]) for _, match in own})
    order = [*MODALITIES, "p"]
    found = {match[2] for _, match in own}
    shown = sorted(found, key=lambda text: [order.index(part) for part in text.split("->")])
    columns: list[tuple[str, Callable[[Row], bool]]] = [
        (str(layer), lambda row, start=f"layer{layer}/": row["decode"].startswith(start))  # type: ignore[misc]
        for layer in layers
    ]
    return _table(
        [row for row, _ in own],
        f"{label(measure)}, {name}, by layer",
        ["system", "seen" if measure == "pnmi" else "from -> to"],
        lambda row: (row["system"], row["decode"].partition("/")[2]),
        columns,
        lambda key: (key[0], shown.index(key[1])),
    )


def noises_of(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """(set, noise) of error rates that there are."""
    found = {split_set(row["set"])[:2] for row in rows if is_rate(row) and not is_clean(row)}
    return sorted(found, key=lambda pair: (_order(pair[0]), pair[1]))


def phones_aligned(pictures: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether an analysis (file -> its contents) had no phone times but those of our aligner."""
    about = [content.get("analysis") or {} for content in pictures.values()]
    return any(one.get("phone_times") == "aligned" for one in about)


def modality_sections(rows: Sequence[Row], aligned: bool = False) -> list[Section]:
    """All tables of a report on audio-visual recognition, [] where no row is of that.

    aligned: said of the phones that layers are judged by, see `phones_aligned`.
    """
    if not has_modalities(rows):
        return []
    rows = labelled([row for row in rows if is_rate(row) or is_guess(row) or is_modal(row)])
    guess = GUESS if any(map(is_guess, rows)) else ""
    clean = [table for measure in ("wer", "cer") if (table := clean_table(rows, measure))]
    noisy = [noise_table(rows, *pair) for pair in noises_of(rows)]
    names = sorted({row["set"] for row in rows if is_modal(row)}, key=_order)
    inside = [
        table
        for measure in ("pnmi", "retrieval")
        for name in names
        if (table := layer_table(rows, measure, name))
    ]
    chapters = (
        (f"Recognition from sound and lips (av), sound (a), lips (v){guess}", clean),
        ("Recognition in noise", noisy),
        (f"Modalities inside the encoder{ALIGNED if aligned else ''}", inside),
    )
    return [Section(title, tables) for title, tables in chapters if tables]


def modality_key_table(rows: Sequence[Row]) -> Table:
    """What a README shows: WER of every test set by modality, and its mean over each noise."""
    rows = [
        row
        for row in rows
        if is_rate(row) and row["measure"] == "wer" and not str(row["set"]).startswith("dev")
    ]
    rows = labelled(rows)
    means: list[Row] = []
    for base, category in noises_of(rows):
        own = [row for row in rows if split_set(row["set"])[:2] == (base, category)]
        ratios = sorted({float(split_set(row["set"])[2] or 0.0) for row in own})
        if len(ratios) == 1:
            name = f"{base}, {category} {ratios[0]:g} dB"
            means += [{**row, "set": name} for row in own]
            continue
        name = f"{base}, {category} {ratios[0]:g} to {ratios[-1]:g} dB"
        made = _with_mean(own, ratios)
        means += [{**row, "set": name} for row in made if row["set"] == "mean"]
    shown = [row for row in rows if is_clean(row)] + means
    pairs = list(dict.fromkeys((row["set"], row["decode"]) for row in shown))
    bases = {row["set"] for row in rows if is_clean(row)}
    pairs.sort(key=lambda p: (p[0] not in bases, p[0], MODALITIES.index(p[1])))
    lines = []
    for system in sorted({row["system"] for row in shown}):
        own = [row for row in shown if row["system"] == system]
        cells = [
            cell([r for r in own if (r["set"], r["decode"]) == pair], interval=False)
            for pair in pairs
        ]
        lines.append([system, seeds(own), *cells])
    heads = [f"{label('wer')} ({name}: {decode})" for name, decode in pairs]
    return Table("", ["system", "seeds", *heads], lines)
