"""What decoding and tuning of audio-visual models have in common: options, model, readers."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pylib.corpus.errors import UserError
from pylib.corpus.jsonfile import read_object
from pylib.corpus.tables import names_some, read_table, table_path

if TYPE_CHECKING:
    from pylib.decoding.attention_search import SearchOptions
    from pylib.decoding.av_decode import Sources
    from pylib.decoding.variants import Variant
    from pylib.systems.seq2seq import Seq2Seq

TUNED_FORMAT = "trivium.tuned_av/1"
_NAMES = ("beam", "length_penalty", "ctc_weight", "threshold")


@dataclass
class DecodeInputs:
    """A model and what it reads.

    Attributes:
        name: of the data directory.
        modalities, variants: in which ways the set is read.
        pieces: of the subword model.
        payload: of the checkpoint.
        options: modality -> search options.
        tuned: modality -> which development set chose them, for decode.json.
    """

    model: Seq2Seq
    sources: Sources
    name: str
    modalities: list[str]
    variants: list[Variant]
    pieces: tuple[str, ...]
    payload: dict[str, Any]
    options: dict[str, SearchOptions] = field(default_factory=dict)
    tuned: dict[str, dict[str, Any]] = field(default_factory=dict)


def add_search_options(parser: argparse.ArgumentParser) -> None:
    """Options of the search and of where it runs."""
    parser.add_argument("--beam", type=int, help="hypotheses kept; default 20")
    parser.add_argument("--length-penalty", type=float, help="default 1")
    parser.add_argument("--ctc-weight", type=float, help="share of CTC's prefix score; default 0")
    parser.add_argument("--threshold", type=float, help="nats below the best, 0 = none; default 20")
    parser.add_argument("--batch-seconds", type=float, default=160.0, help="padded video a batch")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")


def given_options(args: argparse.Namespace) -> dict[str, Any]:
    """Search options that were given by hand."""
    return {name: getattr(args, name) for name in _NAMES if getattr(args, name) is not None}


def open_sources(args: argparse.Namespace) -> DecodeInputs:
    """Load the checkpoint of `args` and open its data with the streams that are asked for.

    Raises:
        UserError: not a checkpoint of seq2seq, streams or noise that are not there.
    """
    from pylib.decoding.av_decode import Sources, check_streams
    from pylib.decoding.variants import (
        MODALITIES,
        parse_conditions,
        parse_modalities,
        variants_of,
    )
    from pylib.features.noise import NoiseSet
    from pylib.training.av_reader import AVReader
    from pylib.training.av_text import subwords_of
    from pylib.training.checkpoint import load_system

    modalities, conditions = parse_modalities(args.modalities), parse_conditions(args.conditions)
    model, config, payload = load_system(args.checkpoint, args.device)
    if config.system != "seq2seq":
        raise UserError(
            f"{args.checkpoint}: a {config.system} model writes no pieces of words: fine-tune it "
            "with system = seq2seq first"
        )
    check_streams(model, modalities, args.checkpoint)  # type: ignore[arg-type]
    streams = {name for modality in modalities for name in MODALITIES[modality]}
    noise = None
    noisy = sorted({c.category for c in conditions if not c.clean})
    if noisy and "audio" in streams:
        if not args.noise:
            raise UserError(f"--conditions {args.conditions}: --noise is needed")
        noise = NoiseSet(args.noise, "test", noisy)
    places = {"audio": args.data, "video": getattr(args, "pictures", None) or args.data}
    readers = {name: AVReader(places[name], [name]) for name in sorted(streams)}
    unseen = _unseen(args.data, readers["video"].utts) if "video" in readers else frozenset()
    sources = Sources(readers.get("audio"), readers.get("video"), noise, args.seed, unseen)
    return DecodeInputs(
        model=model,  # type: ignore[arg-type]
        sources=sources,
        name=Path(args.data).resolve().name,
        modalities=modalities,
        variants=variants_of(conditions, modalities),
        pieces=subwords_of(payload, args.checkpoint).pieces,
        payload=payload,
    )


def _unseen(data: str, seen: Collection[str]) -> frozenset[str]:
    """Utterances of a data directory that are not among those with pictures.

    Raises:
        UserError: pictures of utterances that are not of the set.
    """
    utts = read_table(table_path(data, "utt2spk"), fields=2)
    foreign = set(seen) - utts.keys()
    if foreign:
        raise UserError(
            f"--pictures: has {names_some(foreign)}, {data} has not: give the directory that "
            "steps/make_mouth.sh made of it"
        )
    return frozenset(utts.keys() - set(seen))


def options_for(
    args: argparse.Namespace, inputs: DecodeInputs
) -> tuple[dict[str, SearchOptions], dict[str, dict[str, Any]]]:
    """(modality -> options, modality -> record of who chose them); options by hand win.

    A modality that was not tuned takes the options of the first that was.
    """
    from pylib.decoding.attention_search import SearchOptions
    from pylib.decoding.av_decode import with_model_weight

    given = given_options(args)
    tuned = read_tuned(args.tuned) if args.tuned else {}
    options, records = {}, {}
    for modality in inputs.modalities:
        chosen: dict[str, Any] = {}
        if tuned:
            source = modality if modality in tuned else next(iter(tuned))
            chosen = tuned[source]["options"]
            records[modality] = {
                "file": args.tuned,
                "set": tuned[source]["set"],
                "wer": tuned[source]["wer"],
                "modality": source,
                "overridden": sorted(given),
            }
        try:
            mine = SearchOptions(**{**chosen, **given})
        except TypeError as error:
            raise UserError(f"{args.tuned}: {error}: tune again") from None
        options[modality] = with_model_weight(mine, inputs.model, args.checkpoint)
    return options, records


def read_tuned(path: str) -> dict[str, dict[str, Any]]:
    """Modality -> what steps/tune_av.sh wrote. UserError: not such a file."""
    try:
        content = read_object(path, "tune again", "run steps/tune_av.sh on a dev set")
        if content["format"] != TUNED_FORMAT or not content["modalities"]:
            raise ValueError(f"format {content['format']!r}")
        return {
            name: {"options": row["options"], "set": row["set"], "wer": row["wer"]}
            for name, row in content["modalities"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not written by steps/tune_av.sh ({error}): tune again") from None
