"""Data directories of LibriSpeech, of a part of it, or of the built-in corpus in its layout."""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from roles import Roles, Source, SplitOptions, assign_roles, source_of
from splits import FOLDS, SPLITS
from tree import SUBSETS, Subset, find_corpus, read_speakers, reader_of, scan_subset

from pylib.bin.entry import run
from pylib.corpus.atomic import atomic_path, write_json, write_text
from pylib.corpus.audit import AudioRules, Finding, audit_audio
from pylib.corpus.datadir import write_datadir
from pylib.corpus.errors import UserError
from pylib.corpus.tables import read_list

RATE = 16000
BUILT_IN_MARKER = "trivium-mini.json"
LM_TEXT = "librispeech-lm-norm.txt.gz"
_SMALL_LM_TEXT = 50_000_000  # bytes of gzip that are read through to look for test sentences


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """Options of prepare_data.sh, which documents them."""
    parser = argparse.ArgumentParser(prog="prepare_data", description=__doc__)
    parser.add_argument("--split", choices=SPLITS, default="10m")
    parser.add_argument("--fold", type=int, choices=range(FOLDS), default=0)
    parser.add_argument("--librilight")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nj", type=int, default=1)
    parser.add_argument("--min-samples", type=int, default=400)
    parser.add_argument("--max-seconds", type=float, default=60.0)
    parser.add_argument("--check", choices=("header", "tail", "full"), default="tail")
    parser.add_argument("--allow-loss", choices=("true", "false"), default="false")
    parser.add_argument("corpus_dir", type=Path)
    parser.add_argument("data_dir", type=Path)
    return parser.parse_args(argv)


class Preparation:
    """One run: what was found, and what was left out and why."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.corpus = find_corpus(arguments.corpus_dir)
        self.data: Path = arguments.data_dir
        self.built_in = (self.corpus / BUILT_IN_MARKER).is_file()
        self.subsets: list[Subset] = []
        self.findings: dict[str, Finding] = {}
        self.left_out: list[str] = []  # lines `<subset> <kind> <utterance or file> <why>`
        self.notices: list[str] = []
        self.sex: dict[str, str] = {}

    def scan(self) -> None:
        """Read the tree, SPEAKERS.TXT and every audio header."""
        names = [name for name in SUBSETS if (self.corpus / name).is_dir()]
        self.subsets = [scan_subset(self.corpus, name) for name in names]
        wav: dict[str, str] = {}
        for subset in self.subsets:
            for utt, path in subset.wav.items():
                if utt in wav:
                    raise UserError(f"{path}: utterance {utt} is also {wav[utt]}: keep one of them")
                wav[utt] = path
        speakers = self.corpus / "SPEAKERS.TXT"
        if speakers.is_file():
            self.sex = read_speakers(speakers)
        else:
            self.notices.append(f"{speakers} is missing: no spk2gender")
        rules = AudioRules(
            RATE, self.arguments.min_samples, self.arguments.max_seconds, self.arguments.check
        )
        self.findings = audit_audio(wav, rules, self.arguments.nj)
        self._check_readers()

    def _check_readers(self) -> None:
        """A reader of a test subset must be in no training subset."""
        train = {reader_of(u): s.name for s in self.subsets if s.is_train for u in s.wav}
        for subset in self.subsets:
            both = sorted({reader_of(u) for u in subset.wav} & train.keys())
            if not subset.is_train and both:
                raise UserError(
                    f"{self.corpus / subset.name}: reader {both[0]} is also in {train[both[0]]} "
                    f"({len(both)} readers in all): the subsets were mixed up, unpack them again"
                )

    def usable(self, subset: Subset) -> Source:
        """The utterances of a subset that can be used; the others are listed or refused.

        Raises:
            UserError: a dev or test subset would lose an utterance or a transcript.
        """
        bad = [self.findings[u] for u in subset.wav if self.findings[u].kind]
        lost = [f"{subset.name} {f.kind} {f.utt} {f.what}" for f in bad]
        lost += [f"{subset.name} {d.rule} {d}" for d in subset.defects]
        good = {u: self.findings[u].samples / RATE for u in subset.wav if not self.findings[u].kind}
        if not subset.is_train:
            silent = sorted(good.keys() - subset.text.keys())
            lost += [f"{subset.name} no-transcript {u} {subset.wav[u]}" for u in silent]
            if lost and self.arguments.allow_loss == "false":
                shown = "\n".join(lost[:20])
                raise UserError(
                    f"{shown}\n{self.corpus / subset.name}: {len(lost)} defects would make this "
                    "set smaller than it is: mend the corpus, or say --allow-loss true"
                )
            if lost:
                self.notices.append(
                    f"{subset.name}: {len(lost)} losses were allowed, see excluded.txt"
                )
        self.left_out += lost
        found = source_of(subset, good)
        rules = Counter([*(f.kind for f in bad), *(d.rule for d in subset.defects)])
        counts = ", ".join(f"{count} {rule}" for rule, count in sorted(rules.items()))
        print(
            f"{subset.name}: {len(subset.wav)} flacs, {len(good)} usable, {len(found.text)} with "
            f"transcripts; left out: {counts or 'none'}"
        )
        return found


def _listed(corpus: Path) -> tuple[str, ...]:
    """Ids that the built-in corpus lists as labelled."""
    return tuple(read_list(corpus / "labelled.txt"))


def _beside(corpus: Path) -> str | None:
    """Libri-Light's lists where local/download.sh puts them: beside the corpus."""
    place = corpus.absolute().parent / "librispeech_finetuning"
    return str(place) if (place / "1h").is_dir() else None


def read_phones(corpus: Path, subsets: Iterable[str]) -> dict[str, list[str]]:
    """Lines of <corpus>/phones/<subset>.ctm by utterance; empty for a corpus without them."""
    phones: dict[str, list[str]] = {}
    for name in subsets:
        path = corpus / "phones" / f"{name}.ctm"
        if not path.is_file():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if len(line.split()) != 5:
                raise UserError(f"{path}:{number}: 5 fields expected: make the corpus again")
            phones.setdefault(line.partition(" ")[0], []).append(line)
    return phones


def write_set(prep: Preparation, name: str, utts: list[str], text: Mapping[str, str]) -> None:
    """Write one data directory; `text` of all utterances or none."""
    wav = {u: path for s in prep.subsets for u, path in s.wav.items()}
    utt2spk = {utt: reader_of(utt) for utt in utts}
    speakers = set(utt2spk.values())
    samples = {utt: prep.findings[utt].samples for utt in utts}
    write_datadir(
        prep.data / name,
        wav={utt: wav[utt] for utt in utts},
        utt2spk=utt2spk,
        text={utt: text[utt] for utt in utts} if all(u in text for u in utts) else None,
        utt2dur={utt: count / RATE for utt, count in samples.items()},
        utt2num_samples=samples,
        spk2gender={s: prep.sex[s] for s in speakers} if speakers <= prep.sex.keys() else None,
    )


def _write_phones(prep: Preparation, roles: Roles) -> None:
    phones = read_phones(prep.corpus, (subset.name for subset in prep.subsets))
    for name, utts in roles.sets.items():
        if phones and all(utt in phones for utt in utts):
            lines = [line for utt in utts for line in phones[utt]]
            write_text(prep.data / name / "phones.ctm", "\n".join(lines) + "\n")


def write_lm_text(prep: Preparation, roles: Roles, text: Mapping[str, str]) -> str:
    """Write <data>/lm_text, one sentence a line (maybe gzip); returns where it comes from.

    The corpus's own LM text if there is one, else the transcripts of the training subsets.

    Raises:
        UserError: the built-in corpus's LM text holds a dev or test sentence.
    """
    target = prep.data / "lm_text"
    tests = {text[utt] for name in (*roles.dev, *roles.test) for utt in roles.sets[name]}
    places = (prep.corpus, prep.corpus.parent, prep.corpus / "lm", prep.corpus.parent / "lm")
    for place in (folder / LM_TEXT for folder in places):
        if not place.is_file():
            continue
        if place.stat().st_size <= _SMALL_LM_TEXT:
            with gzip.open(place, "rt", encoding="utf-8") as lines:
                leak = next((line.strip() for line in lines if line.strip() in tests), None)
            if leak is not None and prep.built_in:
                raise UserError(f"{place}: holds the test sentence '{leak}': make the corpus again")
        with atomic_path(target) as temp:
            try:
                os.link(place, temp)  # 1.5 GB in the real corpus: no second copy
            except OSError:
                shutil.copyfile(place, temp)
        return str(place)
    training = {u for s in prep.subsets if s.is_train for u in s.text} | set(
        roles.sets[roles.labelled]
    )
    held_out = {u for name in (*roles.dev, *roles.test) for u in roles.sets[name]}
    lines = [text[u] for u in sorted(training - held_out) if u in text and text[u] not in tests]
    if not lines:
        raise UserError(
            f"{prep.corpus}: no training transcript that is not also a dev or test sentence, hence "
            f"no LM text: put {LM_TEXT} beside the corpus"
        )
    write_text(target, "\n".join(lines) + "\n")
    prep.notices.append(
        f"{LM_TEXT} is not beside the corpus: LM text is the {len(lines)} training transcripts"
    )
    return "transcripts of the training subsets"


def _row(prep: Preparation, name: str, utts: list[str], text: Mapping[str, str]) -> dict[str, Any]:
    seconds = sum(prep.findings[utt].samples for utt in utts) / RATE
    return {
        "utterances": len(utts),
        "hours": round(seconds / 3600, 4),
        "speakers": len({reader_of(utt) for utt in utts}),
        "transcribed": sum(utt in text for utt in utts),
    }


def write_summary(prep: Preparation, roles: Roles, text: Mapping[str, str], lm: str) -> None:
    """Print the table and notices; write excluded.txt and, last of all, sets.json."""
    rows = {name: _row(prep, name, utts, text) for name, utts in roles.sets.items()}
    write_text(prep.data / "excluded.txt", "".join(f"{line}\n" for line in prep.left_out))
    notices = [*prep.notices, *roles.notices]
    write_json(
        prep.data / "sets.json",
        {
            "corpus": "built-in speech" if prep.built_in else "LibriSpeech",
            "builtin": prep.built_in,
            "partial": roles.partial,
            "corpus_dir": str(prep.corpus),
            "train": roles.train,
            "labelled": roles.labelled,
            "dev": roles.dev,
            "test": roles.test,
            "split": prep.arguments.split,
            "split_source": roles.split_source,
            "lm_text": lm,
            "excluded": len(prep.left_out),
            "notices": notices,
            "sets": rows,
        },
    )
    print(f"{'set':<14} {'utterances':>10} {'hours':>8} {'speakers':>8} {'transcribed':>11}")
    for name, row in rows.items():
        print(
            f"{name:<14} {row['utterances']:>10} {row['hours']:>8.3f} {row['speakers']:>8} "
            f"{row['transcribed']:>11}"
        )
    print(f"labelled split {roles.labelled}: {roles.split_source}; LM text: {lm}")
    for notice in notices:
        print(f"NOTICE: {notice}")


def main(argv: list[str]) -> int:
    """Prepare all sets; raises UserError on a corpus that cannot be used as asked."""
    arguments = parse_arguments(argv)
    prep = Preparation(arguments)
    prep.scan()
    sources = [prep.usable(subset) for subset in prep.subsets]
    options = SplitOptions(
        split=arguments.split,
        fold=arguments.fold,
        seed=arguments.seed,
        librilight=arguments.librilight,
        listed=_listed(prep.corpus) if prep.built_in else None,
    )
    if options.librilight is None and options.listed is None:
        options = replace(options, librilight=_beside(prep.corpus))
    roles = assign_roles(sources, options, prep.sex)
    text = {utt: words for source in sources for utt, words in source.text.items()}
    # A summary stands only beside the sets that it describes.
    (prep.data / "sets.json").unlink(missing_ok=True)
    for name, utts in roles.sets.items():
        write_set(prep, name, utts, text)
    _write_phones(prep, roles)
    lm = write_lm_text(prep, roles, text)
    write_summary(prep, roles, text, lm)
    if prep.built_in:
        made = json.loads((prep.corpus / BUILT_IN_MARKER).read_text(encoding="utf-8"))
        print(f"built-in corpus (synthetic speech), seed {made['config']['seed']}")
    return 0


if __name__ == "__main__":
    run(main)
