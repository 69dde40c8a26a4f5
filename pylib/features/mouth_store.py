"""Mouth pictures in arks: grey bytes as one-byte matrices of Kaldi, and sheets of them to look at.

A clip is a matrix (T, 9216) of CM3 with minimum 0 and range 255, so that a byte stands for itself
and nothing is lost; any reader of Kaldi's formats gets the same numbers as floats.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pylib.corpus.ark import ArkReader
from pylib.corpus.errors import UserError

Pictures = npt.NDArray[np.uint8]

STEM = "mouth"
SIDE = 96  # pixels
DIM = SIDE * SIDE
RATE = 25
COMPRESSION = 6  # kOneByteUnsignedInteger of Kaldi: minimum 0, range 255
_SCALE = struct.Struct("<ff")
_SCALE_AT = len(b"\0BCM3 ")


def describe_mouth() -> dict[str, object]:
    """What every `mouth.json` says about the pictures themselves."""
    return {
        "kind": STEM, "dim": DIM, "rate": RATE, "height": SIDE, "width": SIDE, "align": "start",
        "compression": COMPRESSION,
    }  # fmt: skip


def to_matrix(pictures: Pictures) -> npt.NDArray[np.float32]:
    """Pictures uint8 (T, 96, 96) as the matrix float32 (T, 9216) that an `ArkWriter` takes."""
    if pictures.dtype != np.uint8 or pictures.shape[1:] != (SIDE, SIDE):
        raise ValueError(f"pictures {pictures.dtype} {pictures.shape}, uint8 (T, 96, 96) expected")
    return pictures.reshape(len(pictures), DIM).astype(np.float32)


def read_mouth(reader: ArkReader, rx: str, utt: str) -> Pictures:
    """Pictures of an utterance, uint8 (T, 96, 96), writable.

    Bytes are taken as they lie in the ark (about 0.2 ms for 3 s); matrices of floats with values
    from 0 to 255 are read too.

    Args:
        reader: keeps the arks open.
        rx: where: an entry of `mouth.scp`.
        utt: for messages.

    Raises:
        UserError: as `ArkReader.read`; an item of another width, or of numbers that are no bytes.
    """
    header, data = reader.raw(rx, utt)
    if len(header.shape) != 2 or header.shape[1] != DIM:
        raise UserError(
            f"utterance '{utt}': {rx}: shape {header.shape}, (T, {DIM}) expected: make the "
            "pictures with steps/make_mouth.sh"
        )
    if header.kind == "CM3" and _SCALE.unpack_from(data, _SCALE_AT) == (0.0, 255.0):
        flat = np.frombuffer(data, dtype=np.uint8, offset=header.start).copy()
        return flat.reshape(header.shape[0], SIDE, SIDE)
    values = reader.read(rx, utt)
    out = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    if not np.allclose(out, values, atol=0.01):
        raise UserError(
            f"utterance '{utt}': {rx}: numbers that are no grey values from 0 to 255: make the "
            "pictures with steps/make_mouth.sh"
        )
    return out.reshape(len(values), SIDE, SIDE)


def strip(pictures: Pictures, count: int = 12, every: float | None = None) -> Pictures:
    """`count` pictures of a clip side by side, spread evenly: uint8 (96, 96 count).

    Args:
        pictures: uint8 (T, 96, 96).
        count: how many; places beyond a short clip stay white.
        every: take each so many frames from the start instead of spreading.
    """
    out = np.full((SIDE, SIDE * count), 255, dtype=np.uint8)
    total = len(pictures)
    chosen = min(count, total)
    if every is not None:
        places = np.arange(count) * every
    else:
        places = np.linspace(0, total - 1, chosen).round()
    places = places[places < total].astype(int)
    for column, place in enumerate(places):
        out[:, column * SIDE : (column + 1) * SIDE] = pictures[place]
    return out


def contact_sheet(clips: Mapping[str, Pictures], columns: int = 12) -> Pictures:
    """A row for each clip: its name above pictures spread over it.

    Args:
        clips: name -> uint8 (T, 96, 96).
        columns: pictures in a row.

    Returns:
        uint8 (112 clips, 96 columns), grey.

    Raises:
        UserError: no clips.
    """
    import cv2

    if not clips:
        raise UserError("no clips to show on a sheet of mouths: name some")
    rows = []
    for name, pictures in clips.items():
        label = np.full((16, SIDE * columns), 255, dtype=np.uint8)
        cv2.putText(label, name, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0,), 1, cv2.LINE_AA)
        rows += [label, strip(pictures, columns)]
    return np.concatenate(rows)
