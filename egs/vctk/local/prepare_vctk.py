"""Data directories of VCTK 0.92 or 0.80, of a part of it, or of the built-in corpus.

`scan` finds what can be used and decides the sets; after steps/clean_audio.sh has made the audio
alike, `split` writes the data directories, trials and conversion pairs.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from vctk_sets import PARALLEL, assign, check_apart, choose_unseen
from vctk_tree import MICS, Loss, Tree, scan, speaker_of, speech_segments

from pylib.bin.entry import run
from pylib.corpus.atomic import sha256_file, write_json, write_text
from pylib.corpus.datadir import write_datadir
from pylib.corpus.errors import UserError
from pylib.corpus.layout import Contents
from pylib.corpus.pairs import PairOptions, make_pairs, write_pairs
from pylib.corpus.subset import write_subset
from pylib.corpus.tables import names_some
from pylib.corpus.trials import make_trials, write_trials

BUILT_IN_MARKER = "trivium-mini.json"
ORDER = ("train", "dev", "test", "unseen", "parallel")


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """Options of prepare_data.sh, which documents them."""
    parser = argparse.ArgumentParser(prog="prepare_data", description=__doc__)
    parser.add_argument("part", choices=("scan", "split"))
    parser.add_argument("--mic", choices=MICS, default="mic1")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--unseen", type=Path)
    parser.add_argument("--per-speaker", type=int, default=20)
    pairs = PairOptions()
    for name in ("sources", "targets", "utterances", "references"):
        parser.add_argument(f"--{name}", type=int, default=getattr(pairs, name))
    parser.add_argument("corpus_dir", type=Path)
    parser.add_argument("data_dir", type=Path)
    return parser.parse_args(argv)


def built_in_of(root: Path) -> dict[str, Any] | None:
    """What the built-in corpus says of itself; None for a real one.

    Raises:
        UserError: a built-in corpus of another layout.
    """
    if not (root / BUILT_IN_MARKER).is_file():
        return None
    made: dict[str, Any] = json.loads((root / BUILT_IN_MARKER).read_text(encoding="utf-8"))
    if made.get("layout") != "vctk":
        raise UserError(f"{root}: is the built-in corpus in another layout: make it --layout vctk")
    return made


def _write_raw(tree: Tree, data: Path, utts: list[str], built_in: bool) -> None:
    """<data>/local/raw: all utterances of all sets, as they lie in the corpus."""
    speakers = {speaker_of(utt) for utt in utts}
    write_datadir(
        data / "local" / "raw",
        wav={utt: tree.wav[utt] for utt in utts},
        utt2spk={utt: speaker_of(utt) for utt in utts},
        text=None if tree.text is None else {utt: tree.text[utt] for utt in utts},
        segments=speech_segments(tree, utts),
        spk2gender={spk: tree.sex[spk] for spk in speakers}
        if speakers <= tree.sex.keys()
        else None,
    )
    phones = tree.root / "phones" / "all.ctm"
    if built_in and phones.is_file():
        wanted = set(utts)
        lines = phones.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.partition(" ")[0] in wanted]
        write_text(data / "local" / "raw" / "phones.ctm", "\n".join(kept) + "\n")


def run_scan(arguments: argparse.Namespace) -> None:
    """Scan the tree; write <data>/local/raw and <data>/local/scan.json."""
    data: Path = arguments.data_dir
    (data / "sets.json").unlink(missing_ok=True)  # stands only beside the sets that it describes
    tree = scan(arguments.corpus_dir, arguments.mic)
    made = built_in_of(tree.root)
    count = PARALLEL if made is None else int(made["parallel"])
    listed = arguments.unseen or Path(__file__).parents[1] / "conf" / "unseen_speakers.txt"
    explicit = arguments.unseen is not None
    sets = choose_unseen(tree, listed, explicit, made is not None, arguments.seed)
    assign(tree, sets, count, arguments.seed)
    check_apart(tree, sets, made is not None)
    utts = sorted(utt for part in sets.sets.values() for utt in part)
    _write_raw(tree, data, utts, made is not None)
    print(
        f"VCTK {tree.edition}{' (built in)' if made else ''}, {arguments.mic}: {len(tree.wav)} "
        f"usable utterances of {len({speaker_of(u) for u in tree.wav})} speakers; left out: "
        f"{tree.counts()}"
    )
    write_json(
        data / "local" / "scan.json",
        {
            "corpus": "built-in speech" if made else f"VCTK {tree.edition}",
            "corpus_dir": str(tree.root),
            "builtin": made is not None,
            "edition": tree.edition,
            "mic": arguments.mic,
            "seed": arguments.seed,
            "transcribed": tree.text is not None,
            "partial": made is None and not sets.unseen_source.endswith(listed.name),
            "unseen": sets.unseen,
            "unseen_source": sets.unseen_source,
            "sets": sets.sets,
            "sex": {spk: tree.sex.get(spk, "?") for spk in {speaker_of(utt) for utt in tree.wav}},
            "losses": [[x.kind, x.item, x.what] for x in (*tree.losses, *sets.losses)],
            "notices": [*tree.notices, *sets.notices],
        },
    )


def _remove_old(data: Path) -> None:
    """Take away the sets and lists of an earlier run: another corpus may have fewer of them."""
    for name in ORDER:
        if (data / name / "utt2spk").is_file():
            shutil.rmtree(data / name)
    shutil.rmtree(data / "lists", ignore_errors=True)


def _write_checksums(data: Path, names: list[str]) -> None:
    """<data>/lists/*.sha256, as sha256sum writes them, of each set's list, trials and pairs."""
    files = {f"{name}.utts": data / "lists" / f"{name}.utts" for name in names}
    for name in names:
        files |= {
            f"{name}_{kind}": data / name / kind
            for kind in ("trials", "pairs")
            if (data / name / kind).is_file()
        }
    for name, path in files.items():
        line = f"{sha256_file(path)}  {path.relative_to(data).as_posix()}\n"
        write_text(data / "lists" / f"{name}.sha256", line)


def _write_lists(
    data: Path, parts: dict[str, Contents], unseen: list[str], arguments: argparse.Namespace
) -> list[str]:
    """Trials of the unseen speakers, conversions of what they read of the parallel texts.

    Returns:
        Notices.
    """
    notices = []
    many = {name: getattr(arguments, name) for name in ("sources", "targets", "utterances")}
    options = PairOptions(**many, references=arguments.references, seed=arguments.seed)
    for name, kind in (("unseen", "trials"), ("parallel", "pairs")):
        if name not in parts:
            continue
        part = parts[name]
        utt2spk = {utt: spk for utt, spk in part.utt2spk.items() if spk in set(unseen)}
        gender, text = part.spk.get("spk2gender"), part.utt.get("text")
        try:
            if kind == "trials":
                trials = make_trials(utt2spk, gender, text, arguments.per_speaker, arguments.seed)
                write_trials(data / name / kind, trials.trials)
                lone = trials.lone_speakers
            else:
                pairs = make_pairs(utt2spk, gender, text, options)
                write_pairs(data / name / kind, pairs.pairs)
                lone = pairs.lone_speakers
                notices += [f"{name}/{kind}: {notice}" for notice in pairs.notices]
        except UserError as error:
            notices.append(f"no {name}/{kind}: {error}")
            continue
        if lone:
            what = f"left out {len(lone)} speakers with one utterance ({', '.join(lone[:6])})"
            notices.append(f"{name}/{kind}: {what}")
    return notices


def _row(part: Contents) -> dict[str, Any]:
    seconds = sum(float(value) for value in part.utt["utt2dur"].values())
    return {
        "utterances": len(part.utt2spk),
        "hours": round(seconds / 3600, 4),
        "speakers": len(set(part.utt2spk.values())),
        "transcribed": len(part.utt2spk) if "text" in part.utt else 0,
    }


def _print_summary(summary: dict[str, Any]) -> None:
    print(f"{'set':<10} {'utterances':>10} {'hours':>8} {'speakers':>8} {'transcribed':>11}")
    for name, row in summary["sets"].items():
        print(
            f"{name:<10} {row['utterances']:>10} {row['hours']:>8.3f} {row['speakers']:>8} "
            f"{row['transcribed']:>11}"
        )
    kinds = ", ".join(f"{count} {kind}" for kind, count in summary["excluded"].items())
    print(f"left out: {kinds or 'none'} (excluded.txt)")
    print(f"unseen speakers ({summary['unseen_source']}): {' '.join(summary['unseen'])}")
    print(f"trials: {summary['trials']}; pairs: {summary['pairs']}")
    for notice in summary["notices"]:
        print(f"NOTICE: {notice}")


def _count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def run_split(arguments: argparse.Namespace) -> None:
    """Write the data directories out of <data>/local/clean; sets.json is last."""
    data: Path = arguments.data_dir
    found = json.loads((data / "local" / "scan.json").read_text(encoding="utf-8"))
    clean = Contents.load(data / "local" / "clean")
    losses = [Loss(*row) for row in found["losses"]]
    for line in (data / "audio" / "excluded.txt").read_text(encoding="utf-8").splitlines():
        utt, kind, what = line.split(" ", 2)
        losses.append(Loss(kind, utt, what))
    parts: dict[str, Contents] = {}
    _remove_old(data)
    for name in ORDER:
        utts = [utt for utt in found["sets"].get(name, ()) if utt in clean.utt2spk]
        if utts:
            parts[name] = clean.select(utts)
            write_subset(clean, utts, data / name)
            write_text(data / "lists" / f"{name}.utts", "".join(f"{utt}\n" for utt in utts))
    gone = {"train", "unseen"} - parts.keys()
    if gone:
        raise UserError(f"{data}: nothing is left for {names_some(gone)}: see audio/excluded.txt")
    unseen = [spk for spk in found["unseen"] if spk in set(parts["unseen"].utt2spk.values())]
    write_text(data / "lists" / "unseen.spks", "".join(f"{spk}\n" for spk in unseen))
    notices = found["notices"] + _write_lists(data, parts, unseen, arguments)
    _write_checksums(data, list(parts))
    write_text(data / "excluded.txt", "".join(f"{loss}\n" for loss in losses))
    keep = ("corpus", "corpus_dir", "builtin", "edition", "mic", "seed", "partial", "unseen_source")
    summary = {name: found[name] for name in keep} | {
        "unseen": unseen,
        "seen": sorted(set(parts["train"].utt2spk.values())),
        "sets": {name: _row(part) for name, part in parts.items()},
        "trials": _count_lines(data / "unseen" / "trials"),
        "pairs": _count_lines(data / "parallel" / "pairs"),
        "excluded": dict(sorted(Counter(loss.kind for loss in losses).items())),
        "clean": json.loads(clean.common["clean.json"])["config"],
        "notices": notices,
    }
    _print_summary(summary)
    write_json(data / "sets.json", summary)


def main(argv: list[str]) -> int:
    """Scan or split; raises UserError on a corpus that cannot be used as asked."""
    arguments = parse_arguments(argv)
    (run_scan if arguments.part == "scan" else run_split)(arguments)
    return 0


if __name__ == "__main__":
    run(main)
