"""Tables of what latents know and of conversion: one line a system, seeds put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from statistics import fmean
from typing import Any

from pylib.scoring.collect import Row, read_json
from pylib.scoring.measures import MEASURES, Family, arrow, format_value, is_tabled, measure_of

NATURAL = "natural"  # the system of rows of steps/judge_natural.sh

LEGEND = (
    "↑ more is better, ↓ less is better. Of several seeds: mean (least to greatest); of one: the "
    "value and its 95 % interval by drawing speakers."
)
TITLES: dict[str, str] = {
    "speaker": "What the sequence latent knows of the speaker",
    "content": "What the content latent knows",
    "errors": "Recognition",
    "conversion": "Converted speech",
}
# What a README shows of a system; None = whatever decoding there is.
KEYS: tuple[tuple[str, str | None], ...] = (
    ("eer", "svector/cosine"),
    ("eer_same_gender", "svector/cosine"),
    ("sid_accuracy", None),
    ("eer_content", "z1mean/cosine"),
    ("sid_accuracy_content", None),
    ("cer", None),
    ("phone_accuracy", "z1"),
    ("acceptance", None),
    ("cer_converted", None),
    ("source_acceptance", None),
)


@dataclass(frozen=True)
class Table:
    """Text of a table, the same on the page, in RESULTS.md and on a terminal.

    Attributes:
        title: with unit and direction.
        header: heads of the columns; the first `left` are of text.
        lines: cells.
        left: number of columns of text.
        runs: the single runs, where several seeds were put together.
    """

    title: str
    header: list[str]
    lines: list[list[str]]
    left: int = 1
    runs: Table | None = None


@dataclass(frozen=True)
class Section:
    """Tables under one heading."""

    title: str
    tables: list[Table] = field(default_factory=list)


def has_directions(rows: Iterable[Row]) -> bool:
    """Whether a report is of latents or conversion and has these tables."""
    return any(is_tabled(row) for row in rows)


def run_name(row: Row) -> str:
    """Directory of the training that a row is of (exp/<run>/.../file), as far as a name tells."""
    parts = PurePath(row["file"]).parts
    if measure_of(row["measure"]).family == "errors":
        return parts[-4] if len(parts) >= 4 else ""
    return parts[-2] if len(parts) >= 2 else ""


def labelled(rows: Sequence[Row]) -> list[Row]:
    """Rows whose system also names the run where two runs of one system share a seed.

    They differ in their configuration, so they must not be taken for seeds of one system.
    """
    counts = Counter(
        (row["system"], row["seed"], row["set"], row["measure"], row["decode"]) for row in rows
    )
    twice = {key[0] for key, count in counts.items() if count > 1}
    return [
        {**row, "system": f"{row['system']} ({run_name(row)})"} if row["system"] in twice else row
        for row in rows
    ]


def of_conversions(rows: Sequence[Row], details: Mapping[str, Any]) -> list[Row]:
    """Error rates of converted speech as measures of the conversion, other rows as they are.

    A row is of converted speech when the data directory that was decoded has a convert.json. Its
    system, seed and method are the conversion's, its measure ends in `_converted`. Where there are
    several decodings, the last by name counts (`lm` before `greedy`).
    """
    about: dict[str, dict[str, Any]] = {}
    for row in rows:
        if measure_of(row["measure"]).family == "errors" and row["file"] in details:
            settings = details[row["file"]].get("settings") or {}
            path = Path(str(settings.get("data"))) / "convert.json"
            if settings.get("data") and path.is_file():
                about[row["file"]] = read_json(path)
    best = max((str(row["decode"]) for row in rows if row["file"] in about), default="")
    return [
        _of_conversion(row, about[row["file"]])
        if row["file"] in about and row["decode"] == best
        else row
        for row in rows
    ]


def _of_conversion(row: Row, about: Mapping[str, Any]) -> Row:
    """The row of an error rate as one of the conversion that convert.json tells of."""
    method, vocoder = str(about.get("method")), str(about.get("vocoder"))
    return {
        **row,
        "system": str(about.get("system") or method),
        "seed": about.get("seed"),
        "set": Path(str(about.get("data") or row["set"])).name,
        "measure": f"{row['measure']}_converted",
        "decode": f"{method}/{vocoder}",
    }


def cell(rows: Sequence[Row], interval: bool = True) -> str:
    """`4.20 [3.10, 5.30]` of one row, `4.31 (4.02 to 4.60)` of several seeds, `-` of none."""
    if not rows:
        return "-"
    name = rows[0]["measure"]
    values = [row["value"] for row in rows]
    if len(values) > 1:
        ends = f"{format_value(name, min(values))} to {format_value(name, max(values))}"
        return f"{format_value(name, fmean(values))} ({ends})"
    low, high = rows[0]["low"], rows[0]["high"]
    text = format_value(name, values[0])
    if interval and low is not None and high is not None:
        text += f" [{format_value(name, low)}, {format_value(name, high)}]"
    return text


def label(name: str) -> str:
    """Title of a measure with unit and direction."""
    return f"{measure_of(name).label} {arrow(name)}".rstrip()


def _column(name: str, row: Row) -> str:
    """Head of a column: set and decoding, with the direction where it differs from the title's."""
    text = " ".join(str(row[key]) for key in ("set", "decode") if row[key])
    own = arrow(name, row["decode"])
    return text if own == arrow(name) else f"{text} {own}"


def seeds(rows: Iterable[Row]) -> str:
    """Seeds of some rows in order, `-` of none."""
    found = sorted({row["seed"] for row in rows if row["seed"] is not None})
    return ", ".join(map(str, found)) or "-"


def _order(value: Any) -> tuple[bool, str]:
    """Development sets before others."""
    return (not str(value).startswith("dev"), str(value))


def measure_table(rows: Sequence[Row], name: str) -> Table:
    """One measure: a line for each system, a column for each set and decoding."""
    rows = [row for row in rows if row["measure"] == name]
    heads = {(row["set"], row["decode"]): _column(name, row) for row in rows}
    columns = sorted(heads, key=lambda c: (_order(c[0]), str(c[1])))

    def lines(key: Callable[[Row], tuple[str, ...]]) -> list[list[str]]:
        out = []
        for line in sorted({key(row) for row in rows}):
            own = [row for row in rows if key(row) == line]
            cells = [cell([r for r in own if (r["set"], r["decode"]) == c]) for c in columns]
            out.append([line[0], seeds(own), *line[2:], *cells])
        return out

    names = [heads[column] for column in columns]
    together = lines(lambda row: (row["system"],))
    single = lines(lambda row: (row["system"], str(row["seed"]), run_name(row)))
    runs = None
    if len(single) > len(together):
        runs = Table(f"{label(name)}: single runs", ["system", "seed", "run", *names], single, 3)
    return Table(label(name), ["system", "seeds", *names], together, 1, runs)


def conversion_table(rows: Sequence[Row], name: str | None) -> Table:
    """Converted speech of one set: a line for each system and method, a column for each measure.

    What the judges say of natural speech, whatever set they heard, stands beside it.
    """
    rows = [row for row in rows if row["set"] == name or row["system"] == NATURAL]
    measures = [key for key in MEASURES if any(row["measure"] == key for row in rows)]

    def lines(key: Callable[[Row], tuple[str, ...]]) -> list[list[str]]:
        out = []
        for line in sorted({key(row) for row in rows}):
            own = [row for row in rows if key(row) == line]
            cells = [cell([r for r in own if r["measure"] == m]) for m in measures]
            out.append([line[0], line[1], seeds(own), *cells])
        return out

    header = ["system", "method", "seeds", *map(label, measures)]
    title = f"Conversions of {name}" if name else "Conversions"
    together = lines(lambda row: (row["system"], str(row["decode"] or "-")))
    single = lines(lambda row: (row["system"], str(row["decode"] or "-"), str(row["seed"])))
    runs = None
    if len(single) > len(together):
        runs = Table(f"{title}: single runs", ["system", "method", "seed", *header[3:]], single, 2)
    return Table(title, header, together, 2, runs)


def sections(rows: Sequence[Row], details: Mapping[str, Any] | None = None) -> list[Section]:
    """All tables of a report on latents and conversion, [] where no row is of those.

    Args:
        rows: of `collect`.
        details: of `collect`, by file, to tell error rates of converted speech.
    """
    if not has_directions(rows):
        return []
    rows = of_conversions(rows, details or {})
    chosen = labelled(
        [r for r in rows if is_tabled(r) or measure_of(r["measure"]).family == "errors"]
    )
    found: dict[Family, list[Table]] = {}
    for name, measure in MEASURES.items():
        own = [row for row in chosen if row["measure"] == name]
        if own and measure.family in ("speaker", "content", "errors"):
            found.setdefault(measure.family, []).append(measure_table(own, name))
    converted = [row for row in chosen if measure_of(row["measure"]).family == "conversion"]
    heard = {row["set"] for row in converted if row["system"] != NATURAL}
    for name in sorted(heard or {row["set"] for row in converted}, key=_order):
        found.setdefault("conversion", []).append(conversion_table(converted, name))
    return [Section(TITLES[key], found[key]) for key in TITLES if key in found]


def _of_method(row: Row) -> Row:
    """Of converted speech the method belongs to the system's name: one column for all methods."""
    if measure_of(row["measure"]).family != "conversion" or not row["decode"]:
        return row
    method = str(row["decode"]).removeprefix(f"{row['system']}/")
    return {**row, "system": f"{row['system']}, {method}", "decode": None}


def key_table(rows: Sequence[Row], details: Mapping[str, Any] | None = None) -> Table:
    """What a README shows: a line for each system and for each of its conversions."""
    rows = [
        _of_method(row)
        for row in of_conversions(rows, details or {})
        if not str(row["set"]).startswith("dev")
    ]
    columns: list[tuple[str, Any, Any]] = []
    for name, decode in KEYS:
        own = [r for r in rows if r["measure"] == name and decode in (None, r["decode"])]
        found = {(name, row["set"], row["decode"]) for row in own}
        columns += sorted(found, key=lambda c: (_order(c[1]), str(c[2])))
    chosen = labelled([r for r in rows if (r["measure"], r["set"], r["decode"]) in columns])
    lines = []
    for system in sorted({row["system"] for row in chosen}):
        own = [row for row in chosen if row["system"] == system]
        cells = [
            cell([r for r in own if (r["measure"], r["set"], r["decode"]) == c], interval=False)
            for c in columns
        ]
        lines.append([system, seeds(own), *cells])
    heads = [
        f"{label(name)} ({' '.join(str(part) for part in where if part)})"
        for name, *where in columns
    ]
    return Table("", ["system", "seeds", *heads], lines)


def text_table(table: Table) -> str:
    """For a terminal."""
    rows = [table.header, *table.lines]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.header))]
    out = []
    for row in rows:
        cells = [
            text.ljust(width) if i < table.left else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        out.append("  ".join(cells).rstrip())
    out.insert(1, "-" * max(map(len, out)))
    title = [table.title] if table.title else []
    return "\n".join([*title, *out]) + "\n"


def markdown_table(table: Table) -> str:
    """In Markdown, without the title."""
    rule = ["---"] * table.left + ["---:"] * (len(table.header) - table.left)
    rows = [table.header, rule, *table.lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
