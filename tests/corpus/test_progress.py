"""Progress lines: not too many, and always the last."""

from __future__ import annotations

import io

from pylib.corpus.progress import Progress


def test_lines() -> None:
    stream = io.StringIO()
    progress = Progress("mfcc of x", every=3600.0, stream=stream)
    for done in range(1, 6):
        progress(done, 5)
    assert stream.getvalue() == "mfcc of x: 5/5 utterances, 0 s\n"
    eager = Progress("mfcc of x", every=0.0, stream=stream)
    eager(1, 4)
    assert stream.getvalue().endswith("mfcc of x: 1/4 utterances, 0 s, 0 s left\n")
