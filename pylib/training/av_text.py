"""Transcripts as pieces of a subword model, and that model within checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pylib.corpus.errors import UserError
from pylib.corpus.tables import read_table

if TYPE_CHECKING:
    from pylib.units.subwords import Subwords


def open_subwords(path: str) -> Subwords:
    """The subword model of `av_data.subwords`. Raises UserError: not given, missing, broken."""
    from pylib.units.subwords import Subwords

    if not path:
        raise UserError(
            "av_data.subwords: missing: seq2seq needs the spm.model of steps/train_subwords.sh"
        )
    return Subwords.load(path)


def stored(path: str) -> torch.Tensor:
    """The bytes of a subword model as a checkpoint keeps them, uint8 (N,)."""
    return torch.frombuffer(bytearray(open_subwords(path).model), dtype=torch.uint8)


def subwords_of(payload: Mapping[str, Any], where: str = "checkpoint") -> Subwords:
    """The subword model inside a checkpoint of seq2seq; no file is needed.

    Raises:
        UserError: the checkpoint has none.
    """
    from pylib.units.subwords import Subwords

    value = payload.get("subwords")
    if value is None:
        raise UserError(f"{where}: has no subword model: give a checkpoint of seq2seq")
    return Subwords(value.numpy().tobytes(), where)


def transcripts(folder: Path, utts: Sequence[str], path: str) -> dict[str, list[int]]:
    """Pieces of the transcripts of `utts` in `<folder>/text`, by the subword model at `path`.

    Raises:
        UserError: no subword model, no text, or a missing or empty transcript, named.
    """
    if not (folder / "text").is_file():
        raise UserError(f"{folder}/text: missing: seq2seq training needs transcripts")
    text = read_table(folder / "text")
    missing = [utt for utt in utts if not text.get(utt)]
    if missing:
        raise UserError(
            f"{folder}/text: {len(missing)} of {len(utts)} utterances have no transcript, the "
            f"first is {missing[0]}: train on the transcribed ones (steps/subset_data_dir.sh)"
        )
    model = open_subwords(path)
    return {utt: model.encode(text[utt], f"{folder}/text: {utt}") for utt in utts}
