"""Mouths beside what was read from them, and pictures of the modalities of a layer."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pylib.corpus.ark import ArkReader
from pylib.corpus.derived import open_derived
from pylib.corpus.errors import UserError
from pylib.scoring.collect import Collected, Row
from pylib.scoring.embed import png_uri
from pylib.scoring.modality_tables import MODALITIES, NAMES, is_clean
from pylib.scoring.result_tables import run_of
from pylib.scoring.score_files import read_score
from pylib.scoring.wer import Utterance

SHOWN = 3  # best, and as many worst utterances
PICTURES = 16  # of a clip
SHEET = 12  # clips of the contact sheet
SHEET_PICTURES = 8  # of each
MOST_FRAMES = 250  # longer clips are not shown: 16 pictures of them tell little


def _rows(found: Collected, name: str) -> list[Row]:
    """Word error rates of a set by modality, without noise, both before sound before lips."""
    rows = [
        row
        for row in found.rows
        if row["measure"] == "wer" and row["decode"] in MODALITIES and row["set"] == name
        and is_clean(row)
    ]  # fmt: skip
    return sorted(
        rows, key=lambda r: (r["system"], str(r["seed"]), run_of(r), MODALITIES.index(r["decode"]))
    )


def _choose(scores: Sequence[Mapping[str, Utterance]], utts: Sequence[str]) -> dict[str, list[str]]:
    """Best and worst utterances over all decodings; long ones first where rates are equal."""

    def counted(utt: str) -> tuple[float, int]:
        own = [score[utt].counts for score in scores if utt in score]
        words = sum(counts.reference for counts in own)
        return sum(counts.errors for counts in own) / max(1, words), words

    known = [utt for utt in utts if any(utt in score for score in scores)]
    best = sorted(known, key=lambda utt: (counted(utt)[0], -counted(utt)[1], utt))
    worst = sorted(known, key=lambda utt: (-counted(utt)[0], -counted(utt)[1], utt))
    chosen = worst[:SHOWN]
    return {"best": [utt for utt in best if utt not in chosen][:SHOWN], "worst": chosen}


def grey_png(picture: npt.NDArray[np.uint8]) -> bytes:
    """PNG of a grey picture (H, W)."""
    import cv2

    done, data = cv2.imencode(".png", picture)
    if not done:
        raise UserError("a picture of mouths could not be written as PNG: is OpenCV whole?")
    return data.tobytes()


def mouth_sheet(data: str | os.PathLike[str] | None) -> str:
    """A contact sheet of clips spread evenly over a set, whatever was read from them.

    Where the mouth was cut wrongly is seen here: the clips of `mouth_blocks` are chosen by errors.

    Args:
        data: data directory with mouth pictures; None = none.

    Returns:
        data URI of a PNG, "" without a directory.

    Raises:
        UserError: no mouth pictures there.
    """
    if data is None:
        return ""
    from pylib.features.mouth_store import contact_sheet, read_mouth

    _, table = open_derived(data, "mouth")
    utts = sorted(table)
    places = sorted(set(np.linspace(0, len(utts) - 1, min(SHEET, len(utts))).round().astype(int)))
    with ArkReader() as reader:
        clips = {utts[i]: read_mouth(reader, table[utts[i]], utts[i]) for i in places}
    return png_uri(grey_png(contact_sheet(clips, SHEET_PICTURES)))


def mouth_blocks(data: str | os.PathLike[str] | None, found: Collected) -> list[dict[str, Any]]:
    """Blocks of the page: `kind` (best, worst), `utt`, `image`, `ref` and `lines` (row, run, text,
    errors, words).

    Args:
        data: data directory with mouth pictures whose name is that of the set; None = none.
        found: all scores.

    Raises:
        UserError: no mouth pictures there, or of other utterances than those that were decoded.
    """
    if data is None:
        return []
    _, table = open_derived(data, "mouth")
    rows = _rows(found, Path(data).name)
    if not rows:
        return []
    from pylib.features.mouth_store import read_mouth, strip

    scores = [{u.utt: u for u in read_score(row["file"])[1].utterances} for row in rows]
    blocks = []
    with ArkReader() as reader:
        short = [u for u in table if reader.header(table[u], u).shape[0] <= MOST_FRAMES]
        chosen = _choose(scores, short or list(table))
        if not any(chosen.values()):
            raise UserError(
                f"{os.fspath(data)}/mouth.scp: none of the utterances that were decoded: give the "
                "data directory that they are from"
            )
        for kind, utts in chosen.items():
            for utt in utts:
                pictures = read_mouth(reader, table[utt], utt)
                blocks.append(
                    {
                        "kind": kind,
                        "utt": utt,
                        "image": png_uri(grey_png(strip(pictures, PICTURES))),
                        **_texts(rows, scores, utt),
                    }
                )
    return blocks


def _texts(
    rows: Sequence[Row], scores: Sequence[Mapping[str, Utterance]], utt: str
) -> dict[str, Any]:
    """Reference, and what each decoding made of it."""
    lines, ref = [], ""
    for row, score in zip(rows, scores, strict=True):
        if utt not in score:
            continue
        own = score[utt]
        ref = " ".join(own.ref)
        lines.append(
            {
                "row": row,
                "run": run_of(row),
                "text": " ".join(own.hyp),
                "errors": own.counts.errors,
                "words": own.counts.reference,
            }
        )
    return {"ref": ref, "lines": lines}


def modality_pictures(found: Collected) -> list[dict[str, str]]:
    """A figure for each system of steps/analyse_modalities.sh, of its lowest seed.

    Returns:
        `title` and `image` of each.

    Raises:
        UserError: a file that is not as that step writes it.
    """
    chosen: dict[str, tuple[int, str]] = {}
    for path, content in found.pictures.items():
        about = content.get("analysis") or {}
        system, seed = str(about.get("system")), int(about.get("seed") or 0)
        if system not in chosen or (seed, path) < chosen[system]:
            chosen[system] = (seed, path)
    out = []
    for system, (seed, path) in sorted(chosen.items()):
        picture = found.pictures[path]["picture"]
        try:
            image = _draw(picture)
            title = f"{system}, seed {seed}: layer {picture['layer']}"
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise UserError(f"{path}: picture is broken ({error!r}): make it again") from None
        out.append({"title": title, "image": png_uri(image)})
    return out


def _draw(picture: Mapping[str, Any]) -> bytes:
    """PNG of the two planes, by modality and by phone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from pylib.scoring.pictures import scatter

    labels = {
        "by modality": [NAMES.get(name, name) for name in picture["modalities"]],
        "by phone": picture["phones"],
    }
    figure = Figure(figsize=(9.6, 8.4), layout="constrained", dpi=80)
    FigureCanvasAgg(figure)
    for row, (key, name) in enumerate((("pca", "PCA"), ("tsne", "t-SNE"))):
        plane = np.asarray(picture[key], dtype=np.float64)
        for column, (title, of_point) in enumerate(labels.items()):
            axes = figure.add_subplot(2, 2, 2 * row + column + 1)
            scatter(axes, plane, of_point, f"{title} ({name})")
            if row == 0:
                axes.legend(fontsize=6, markerscale=1.5, loc="best", framealpha=0.5)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
