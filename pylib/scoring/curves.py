"""Training curves as SVG, drawn from metrics.jsonl records."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Records = Sequence[Mapping[str, Any]]
Panel = tuple[str, str]  # (type of record, key)

# What is drawn, in this order, for runs that have it; a group is one figure.
GROUPS: dict[str, tuple[Panel, ...]] = {
    "Pre-training": (
        ("train", "ce"),
        ("train", "accuracy"),
        ("train", "mse"),
        ("train", "target_std"),
        ("train", "pred_std"),
        ("dev", "loss"),
        ("dev", "accuracy"),
        ("dev", "pred_pnmi"),
        ("dev", "student_rank"),
        ("train", "lr"),
    ),
    "FHVAE": (
        ("train", "bound"),
        ("dev", "bound"),
        ("train", "log_px"),
        ("train", "kl_z1"),
        ("train", "kl_z2"),
        ("train", "log_q"),
        ("train", "row_accuracy"),
        ("train", "contrast"),
        ("train", "mu2_norm"),
    ),
    "Pre-training with modalities": (
        ("train", "loss"),
        ("train", "ce_videoaudio"),
        ("train", "ce_audiotext"),
        ("train", "ce_onlytext"),
        ("train", "ce_onlyaudio"),
        ("train", "accuracy_videoaudio"),
        ("train", "accuracy_audiotext"),
        ("train", "accuracy_onlytext"),
        ("train", "accuracy_onlyaudio"),
        ("dev", "accuracy_videoaudio"),
        ("train", "pred_perplexity"),
        ("train", "lr"),
    ),
    "Units from phones": (
        ("train", "unit_loss"),
        ("train", "duration_loss"),
        ("dev", "unit_loss"),
        ("dev", "duration_loss"),
        ("dev", "accuracy"),
    ),
    "Fine-tuning to pieces of words": (
        ("train", "loss"),
        ("train", "att"),
        ("train", "ctc"),
        ("dev", "loss"),
        ("train", "accuracy"),
        ("dev", "accuracy"),
        ("train", "grad_norm"),
        ("train", "lr"),
    ),
    "Fine-tuning": (
        ("train", "loss"),
        ("dev", "loss"),
        ("dev", "wer"),
        ("dev", "cer"),
        ("train", "grad_norm"),
        ("train", "lr"),
    ),
}
# What only the runs of a group log.
_TOLD_BY = {
    "bound": "FHVAE",
    "ce_videoaudio": "Pre-training with modalities",
    "unit_loss": "Units from phones",
    "att": "Fine-tuning to pieces of words",
    "ctc": "Fine-tuning to pieces of words",
}
MAX_POINTS = 400
# The same bytes each time; text as text.
STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "trivium", "font.size": 8}


def _group_of(records: Records) -> str:
    """Without a loss of one group alone: runs without a pre-training loss are fine-tuning."""
    keys = {key for record in records for key in record}
    for key, group in _TOLD_BY.items():
        if key in keys:
            return group
    return "Pre-training" if keys & {"ce", "mse"} else "Fine-tuning"


def _points(records: Records, panel: Panel) -> tuple[list[float], list[float]]:
    kind, key = panel
    chosen = [
        (float(r["update"]), float(r[key]))
        for r in records
        if r.get("type") == kind and isinstance(r.get(key), int | float)
    ]
    step = max(1, -(-len(chosen) // MAX_POINTS))
    thinned = chosen[::step]
    if chosen and thinned[-1] != chosen[-1]:
        thinned.append(chosen[-1])
    return [x for x, _ in thinned], [y for _, y in thinned]


def draw_curves(curves: Mapping[str, Records]) -> dict[str, str]:
    """{group title: SVG text} of runs given as {directory: records}; the same bytes each time."""
    groups: dict[str, dict[str, Records]] = {}
    for directory, records in curves.items():
        if records:
            groups.setdefault(_group_of(records), {})[Path(directory).name] = records
    return {
        title: svg
        for title in GROUPS
        if title in groups and (svg := _figure(groups[title], GROUPS[title]))
    }


def _figure(runs: Mapping[str, Records], panels: Sequence[Panel]) -> str:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    data = {p: {name: _points(records, p) for name, records in runs.items()} for p in panels}
    shown = [p for p in panels if any(len(xs) > 1 for xs, _ in data[p].values())]
    if not shown:
        return ""
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.6 * columns, 2.4 * rows), layout="constrained")
        FigureCanvasSVG(figure)
        for number, panel in enumerate(shown, 1):
            axes = figure.add_subplot(rows, columns, number)
            for index, (name, (xs, ys)) in enumerate(data[panel].items()):
                if xs:
                    axes.plot(xs, ys, linewidth=1, color=f"C{index % 10}", label=name)
            axes.set_title(f"{panel[1]} ({panel[0]})")
            axes.grid(alpha=0.3)
            if number == 1:
                axes.legend(fontsize=6)
        return svg_text(figure)


def svg_text(figure: Any) -> str:
    """A figure as SVG to stand within a page; to be called under `STYLE`."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
