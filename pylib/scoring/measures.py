"""What every measure is called, its unit, and which direction is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Direction = Literal["up", "down", ""]
Family = Literal["errors", "speaker", "content", "conversion", "units"]
ARROWS: dict[str, str] = {"up": "↑", "down": "↓", "": ""}


@dataclass(frozen=True)
class Measure:
    """How a measure is shown.

    Attributes:
        title: a few words.
        unit: `%`, `dB` ..., '' where it has none.
        direction: which values are better; '' where neither is.
        family: table group; `errors` (WER, CER) and `units` have tables of their own.
        scale: shown = scale times the value in the file.
        digits: after the point.
    """

    title: str
    unit: str
    direction: Direction
    family: Family
    scale: float = 1.0
    digits: int = 2

    @property
    def label(self) -> str:
        """Title and unit: `MCD, dB`."""
        return f"{self.title}, {self.unit}" if self.unit else self.title


MEASURES: dict[str, Measure] = {
    "wer": Measure("WER", "%", "down", "errors"),
    "cer": Measure("CER", "%", "down", "errors"),
    # What the sequence latent knows of the speaker.
    "eer": Measure("speaker verification EER", "%", "down", "speaker"),
    "eer_same_gender": Measure("EER, trials of one gender", "%", "down", "speaker"),
    "min_dcf": Measure("minDCF(.01, 1, 1)", "", "down", "speaker", digits=3),
    "sid_accuracy": Measure("speaker identification", "%", "up", "speaker"),
    # What the content latent still knows of the speaker, and of the phones.
    "eer_content": Measure("leakage: EER of the content latent", "%", "up", "content"),
    "eer_same_gender_content": Measure(
        "leakage: EER of the content latent, one gender", "%", "up", "content"
    ),
    "min_dcf_content": Measure("leakage: minDCF(.01, 1, 1)", "", "up", "content", digits=3),
    "sid_accuracy_content": Measure("leakage: speaker identification", "%", "down", "content"),
    "phone_accuracy": Measure("linear phone probe", "%", "up", "content", scale=100.0),
    # Converted speech.
    "acceptance": Measure("accepted as the target", "%", "up", "conversion", digits=1),
    "source_acceptance": Measure("accepted as the source", "%", "down", "conversion", digits=1),
    "wer_converted": Measure("WER, own recogniser", "%", "down", "conversion"),
    "cer_converted": Measure("CER, own recogniser", "%", "down", "conversion"),
    "asr_judge_wer": Measure("WER, recogniser of others", "%", "down", "conversion"),
    "asr_judge_cer": Measure("CER, recogniser of others", "%", "down", "conversion"),
    "eer_converted": Measure("EER genuine/converted, best 50", "%", "up", "conversion", digits=1),
    "dnsmos_ovrl": Measure("DNSMOS overall", "", "up", "conversion"),
    "dnsmos_sig": Measure("DNSMOS signal", "", "up", "conversion"),
    "dnsmos_bak": Measure("DNSMOS background", "", "up", "conversion"),
    "dnsmos_p808": Measure("DNSMOS P.808", "", "up", "conversion"),
    "mcd": Measure("MCD", "dB", "down", "conversion"),
    "f0_rmse": Measure("F0 RMSE", "Hz", "down", "conversion", digits=1),
    "f0_corr": Measure("F0 correlation", "", "up", "conversion"),
    "vuv_error": Measure("voicing errors", "%", "down", "conversion"),
    # Layers of self-supervised models, and their modalities.
    "pnmi": Measure("PNMI", "", "up", "units", digits=3),
    "retrieval": Measure("retrieval of the same second", "%", "up", "units", 100.0, digits=1),
    "spoof_eer": Measure("EER of the spoof detector", "%", "up", "conversion", digits=1),
}
# A measure of a latent that should not know it: (measure, decode) -> which values are better.
LEAKS: dict[tuple[str, str], Direction] = {("phone_accuracy", "z2"): "down"}


def measure_of(name: str) -> Measure:
    """How `name` is shown; one that is not listed has its name as title and no direction."""
    return MEASURES.get(name) or Measure(name, "", "", "units", digits=4)


def arrow(name: str, decode: str | None = None) -> str:
    """Which values are better: `↑`, `↓` or ''; of a leak, fewer."""
    direction = LEAKS.get((name, decode or ""), measure_of(name).direction)
    return ARROWS[direction]


def is_tabled(row: Mapping[str, Any]) -> bool:
    """Whether a row belongs to a table of latents or conversion (not to those of recognition).

    A phone probe of a layer of a self-supervised model stays with the other measures.
    """
    family = measure_of(row["measure"]).family
    return family in ("speaker", "content", "conversion") and not str(row["decode"]).startswith(
        "layer"
    )


def format_value(name: str, value: float) -> str:
    """A value as tables show it, without unit."""
    measure = measure_of(name)
    return f"{measure.scale * value:.{measure.digits}f}"


def describe_row(row: Mapping[str, Any]) -> str:
    """A line for the terminal: `unseen svector/lda: EER, % ↓ 4.20 [3.10, 5.30]`."""
    name = row["measure"]
    label = f"{measure_of(name).label} {arrow(name, row['decode'])}".rstrip()
    text = f"{row['set']} {row['decode']}: {label} "
    text += format_value(name, row["value"])
    if row["low"] is not None and row["high"] is not None:
        text += f" [{format_value(name, row['low'])}, {format_value(name, row['high'])}]"
    return text
