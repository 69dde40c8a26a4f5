"""The listening page of a conversion: a few examples, sound and pictures inside one file."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pylib.conversion.methods import Request
from pylib.corpus.atomic import write_text
from pylib.corpus.audio import read_audio
from pylib.corpus.datadir import DataDir
from pylib.features.config import SpectrumConfig
from pylib.features.spectrum import SpectrumFrontend

Samples = npt.NDArray[np.float32]

_RANGE = (-9.0, 3.0)  # nepers that a picture shows


def examples(requests: Sequence[Request], count: int) -> list[Request]:
    """At most `count` conversions, spread evenly over the list."""
    if len(requests) <= count:
        return list(requests)
    places = np.linspace(0, len(requests) - 1, count).round().astype(int)
    return [requests[place] for place in np.unique(places)]


def write_page(path: Path, data: DataDir, wavs: Path, requests: Sequence[Request],
               title: str, about: str) -> None:  # fmt: skip
    """Write a self-contained page.

    Args:
        path: of the page.
        data: natural speech: sources and references.
        wavs: directory with `<name>.wav` of each conversion, at 16 kHz.
        requests: what is shown.
        title: heading.
        about: a line below it.
    """
    import jinja2

    draw = _Pictures()
    items = []
    for request in requests:
        voices = [
            (f"source {request.source}", data.read_utt(request.source, resample=True, mix=True)),
            (f"converted to {request.target}", read_audio(wavs / f"{request.name}.wav")),
            (
                f"target {request.refs[0]} (other words)",
                data.read_utt(request.refs[0], resample=True, mix=True),
            ),
        ]
        shown = [
            {"caption": caption, "image": draw(samples), "audio": _sound(samples)}
            for caption, samples in voices
        ]
        text = data.text[request.carrier] if data.text is not None else ""
        items.append({"name": request.name, "text": text, "voices": shown})
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template("listen.html").render(title=title, about=about, items=items)
    write_text(path, page)


class _Pictures:
    """Spectrograms as PNG in a data URI."""

    def __init__(self) -> None:
        self._front = SpectrumFrontend(SpectrumConfig.preset("logmel"))

    def __call__(self, samples: Samples) -> str:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        short = self._front.config.window - len(samples)
        features = self._front(np.pad(samples, (0, max(short, 0))))
        figure = Figure(figsize=(4.6, 1.8), dpi=80, layout="tight")
        FigureCanvasAgg(figure)
        axes: Any = figure.subplots()
        axes.imshow(
            features.T, origin="lower", aspect="auto", cmap="magma", vmin=_RANGE[0], vmax=_RANGE[1],
            extent=(0, len(features) / self._front.config.frame_rate, 0, features.shape[1]),
        )  # fmt: skip
        axes.set_xlabel("s", fontsize=7)
        axes.set_ylabel("mel", fontsize=7)
        axes.tick_params(labelsize=6)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _sound(samples: Samples, rate: int = 16000) -> str:
    """A flac in a data URI."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(samples, -1, 1), rate, format="FLAC", subtype="PCM_16")
    return "data:audio/flac;base64," + base64.b64encode(buffer.getvalue()).decode()
