"""Word error rate against the signal-to-noise ratio, drawn: where the lips begin to help."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from pylib.scoring.collect import Row
from pylib.scoring.curves import STYLE, svg_text
from pylib.scoring.measure_tables import labelled
from pylib.scoring.modality_tables import MODALITIES, is_rate, noises_of, split_set

LINES = {"av": "-", "a": "--", "v": ":"}


def _mean(rows: Sequence[Row]) -> float:
    return fmean(row["value"] for row in rows)


def curves_of(
    rows: Sequence[Row], base: str, category: str
) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """(system, modality) -> (ratio, WER, mean over seeds) by ratio; of lips a level line.

    Args:
        rows: word error rates by modality.
        base: the set without noise.
        category: the noise.
    """
    noisy = [row for row in rows if split_set(row["set"])[:2] == (base, category)]
    ratios = sorted({float(split_set(row["set"])[2] or 0.0) for row in noisy})
    out: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for system in sorted({row["system"] for row in noisy}):
        for name in MODALITIES:
            own = [row for row in noisy if (row["system"], row["decode"]) == (system, name)]
            clean = [
                row
                for row in rows
                if (row["system"], row["decode"], row["set"]) == (system, name, base)
            ]
            if own:
                at = {r: [row for row in own if split_set(row["set"])[2] == r] for r in ratios}
                out[system, name] = [(r, _mean(found)) for r, found in at.items() if found]
            elif clean and name == "v":
                out[system, name] = [(r, _mean(clean)) for r in ratios]
    return out


def draw_noise(rows: Sequence[Row]) -> str:
    """SVG with a panel for each noise of each set; '' where no noise has two ratios."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    rates = labelled([row for row in rows if row["measure"] == "wer" and is_rate(row)])
    panels: list[tuple[str, dict[tuple[str, str], Any]]] = []
    for base, category in noises_of(rates):
        curves = curves_of(rates, base, category)
        if any(len(points) > 1 for points in curves.values()):
            panels.append((f"{base} in {category}", curves))
    if not panels:
        return ""
    systems = sorted({system for _, curves in panels for system, _ in curves})
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    with rc_context(STYLE):
        figure = Figure(figsize=(4.8 * columns, 3.2 * lines), layout="constrained")
        FigureCanvasSVG(figure)
        for number, (title, curves) in enumerate(panels, 1):
            axes = figure.add_subplot(lines, columns, number)
            for (system, name), points in curves.items():
                axes.plot(
                    [x for x, _ in points],
                    [y for _, y in points],
                    linestyle=LINES[name],
                    marker="." if name != "v" else None,
                    color=f"C{systems.index(system) % 10}",
                    label=f"{system} {name}",
                )
            axes.set_title(title)
            axes.set_xlabel("signal-to-noise ratio, dB")
            axes.set_ylabel("WER, %")
            axes.set_xticks(sorted({x for points in curves.values() for x, _ in points}))
            axes.set_ylim(bottom=0)
            axes.grid(alpha=0.3)
            if number == 1:
                axes.legend(fontsize=6)
        return svg_text(figure)
