"""Sound and pictures as addresses within the page, so that it needs no other file."""

from __future__ import annotations

import base64
import io
from typing import Any


def png_uri(data: bytes) -> str:
    """Address of a PNG."""
    return "data:image/png;base64," + base64.b64encode(data).decode()


def audio_uri(samples: Any, rate: int) -> str:
    """Address of samples (N,) in [-1, 1] as flac, 16 bits."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="FLAC", subtype="PCM_16")
    return "data:audio/flac;base64," + base64.b64encode(buffer.getvalue()).decode()
