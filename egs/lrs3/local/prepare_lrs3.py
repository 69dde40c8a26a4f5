"""Data directories of LRS3, LRS2, or the built-in talking-face corpus, and of what goes with them.

`scan` reads the trees; `cut`, one job a shard, cuts clips and their sound; `write` joins the shards
and writes the data directories.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from lrs3_cut import Made, join_shards, make_shard, plan
from lrs3_more import SoundSet, scan_audio, scan_tedlium, write_text_set
from lrs3_sets import (
    Phones,
    assign,
    built_in_phones,
    check_apart,
    choose_valid,
    clips_of,
    row_of,
    write_av_set,
    write_times,
)
from lrs3_tree import SETS, Loss, count_losses, scan, scan_vox
from lrs3_words import drop_without_phones

from pylib.bin.entry import run
from pylib.corpus.atomic import write_json, write_text
from pylib.corpus.clips import ClipRules
from pylib.corpus.derived import parse_shard
from pylib.corpus.errors import UserError

BUILT_IN_MARKER = "trivium-mini.json"
ORDER = ("pretrain", "labelled", "dev", "test", "audiotext", "audiotext_dev", "onlyaudio",
         "onlytext")  # fmt: skip


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """Options of prepare_data.sh, which documents them."""
    parser = argparse.ArgumentParser(prog="prepare_data", description=__doc__)
    parser.add_argument("step", choices=("scan", "cut", "write"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--labelled", choices=("30h", "433h"), default="30h")
    parser.add_argument("--fps", default="resample")
    parser.add_argument("--check", default="probe")
    parser.add_argument("--max-skew", type=float, default=1.0)
    parser.add_argument("--max-seconds", type=float, default=20.0)
    for name in ("valid-list", "vox", "vox-list", "tedlium", "audio-dir", "text"):
        parser.add_argument(f"--{name}", type=_path)
    parser.add_argument("--nj", type=int, default=1)
    parser.add_argument("--shard", default="1/1")
    parser.add_argument("corpus_dir", type=Path)
    parser.add_argument("data_dir", type=Path)
    return parser.parse_args(argv)


def rules_of(arguments: argparse.Namespace) -> ClipRules:
    """What clips must be."""
    return ClipRules(
        fps=arguments.fps,
        max_skew=arguments.max_skew,
        max_seconds=arguments.max_seconds,
        check=arguments.check,
    )


def built_in_of(root: Path) -> Path | None:
    """Directory of the built-in corpus that `root` is a part of; None for a real one.

    Raises:
        UserError: a built-in corpus of another layout.
    """
    marker = next((p / BUILT_IN_MARKER for p in (root.parent, root)
                   if (p / BUILT_IN_MARKER).is_file()), None)  # fmt: skip
    if marker is None:
        return None
    made = json.loads(marker.read_text(encoding="utf-8"))
    if made.get("layout") != "lrs3":
        raise UserError(f"{root}: is the built-in corpus in another layout: make it --layout lrs3")
    return marker.parent


def run_scan(arguments: argparse.Namespace) -> None:
    """Read the tree of videos; write <data>/local/scan.json."""
    rules_of(arguments)
    data: Path = arguments.data_dir
    (data / "sets.json").unlink(missing_ok=True)  # stands only beside the sets that it describes
    for name in ("valid_list", "vox", "vox_list", "tedlium", "audio_dir", "text"):
        place: Path | None = getattr(arguments, name)
        if place is not None and not place.exists():
            raise UserError(f"--{name.replace('_', '-')} {place}: no such file: check the path")
    tree = scan(arguments.corpus_dir)
    valid, source = choose_valid(tree, arguments.valid_list, arguments.seed)
    vox: list[Any] = []
    if arguments.vox:
        vox, losses = scan_vox(arguments.vox, arguments.vox_list)
        tree.losses += losses
    clips = clips_of(tree, vox)
    counts = ", ".join(f"{sum(c.part == part for c in clips)} {part}" for part in (*SETS, "vox"))
    print(f"{tree.layout} in {tree.root}: {counts} clips")
    write_json(
        data / "local" / "scan.json",
        {
            "corpus_dir": str(tree.root),
            "layout": tree.layout,
            "valid": valid,
            "valid_source": source,
            "clips": [plan(clip) for clip in clips],
            "losses": [[loss.item, loss.kind, loss.what] for loss in tree.losses],
            "notices": tree.notices,
            "dropped": tree.dropped,
        },
    )


def _read_scan(data: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((data / "local" / "scan.json").read_text(encoding="utf-8"))
    return found


def run_cut(arguments: argparse.Namespace) -> None:
    """Cut the clips of one shard."""
    index, jobs = parse_shard(arguments.shard)
    data: Path = arguments.data_dir
    plans = _read_scan(data)["clips"]
    count = make_shard(plans, data, rules_of(arguments), index, jobs)
    print(f"shard {index} of {jobs}: {count} utterances")


def _remove_old(data: Path, keep: set[str]) -> None:
    """Take away sets of an earlier run that this one has not."""
    for name in ORDER:
        if name not in keep and (data / name / "utt2spk").is_file():
            shutil.rmtree(data / name)


def _write_audiotext(
    data: Path,
    talks: dict[str, SoundSet],
    sets: dict[str, list[Made]],
    truth: dict[str, dict[str, Phones]],
) -> tuple[dict[str, dict[str, Any]], list[Loss]]:
    """audiotext and audiotext_dev: TED-LIUM's talks, else the sound and text of labelled and dev.

    Returns:
        Counts of both; the utterances without phones, which are left out.
    """
    rows = {}
    known = truth.get("tedlium3_train", {}) | truth.get("tedlium3_dev", {})
    own = {"audiotext": sets["labelled"], "audiotext_dev": sets["dev"]}
    kept, losses = drop_without_phones(talks or own)
    for name, found in kept.items():
        if isinstance(found, SoundSet):
            found.write(data / name, known)
            rows[name] = found.row()
        else:
            write_av_set(data / name, found, with_video=False)
            write_times(data / name, found, truth)
            rows[name] = row_of(found) | {"video": False}
    return rows, losses


def _print_summary(summary: dict[str, Any]) -> None:
    print(f"{'set':<14} {'utterances':>10} {'hours':>8} {'speakers':>8} {'words':>9}")
    for name, row in summary["sets"].items():
        print(
            f"{name:<14} {row['utterances']:>10} {row['hours']:>8.3f} {row['speakers']:>8} "
            f"{row['words']:>9}"
        )
    kinds = ", ".join(f"{count} {kind}" for kind, count in summary["excluded"].items())
    print(f"left out: {kinds or 'none'} (excluded.txt)")
    if summary["dropped_tokens"]:
        some = ", ".join(f"{count} {word}" for word, count in summary["dropped_tokens"].items())
        print(f"dropped: tokens without a letter or digit, {some}")
    if summary["resampled"]:
        print(f"resampled to 25 frames a second: {summary['resampled']} utterances (irregular.txt)")
    if summary["skewed"]:
        print(
            f"sound and video differed by more than a frame, sound was cut or filled up: "
            f"{summary['skewed']} utterances (irregular.txt)"
        )
    print(f"dev: {summary['valid_source']}")
    for notice in summary["notices"]:
        print(f"NOTICE: {notice}")


def _irregular(data: Path, made: list[Made]) -> dict[str, int]:
    """List what was taken though its frames or lengths were irregular; counts of either kind."""
    counts, lines = {}, []
    for kind in ("resampled", "skewed"):
        told = [(piece.utt, getattr(piece, kind)) for piece in made if getattr(piece, kind)]
        lines += [f"{utt} {kind} {what}\n" for utt, what in told]
        counts[kind] = len(told)
    write_text(data / "irregular.txt", "".join(lines))
    return counts


def _losses_of_tests(losses: list[Loss], plans: list[dict[str, Any]]) -> list[str]:
    """A notice where the test set is smaller than the corpus says."""
    tests = {piece["utt"] for row in plans if row["part"] == "test" for piece in row["pieces"]}
    lost = [loss for loss in losses if loss.item in tests]
    return [f"test lost {len(lost)} of its {len(tests)} clips, see excluded.txt"] if lost else []


def run_write(arguments: argparse.Namespace) -> None:
    """Join the shards and write all data directories; sets.json is last."""
    data: Path = arguments.data_dir
    found = _read_scan(data)
    made, cut_losses = join_shards(found["clips"], data, rules_of(arguments), arguments.nj)
    losses = [Loss(*row) for row in found["losses"]] + cut_losses
    write_text(data / "excluded.txt", "".join(f"{loss}\n" for loss in losses))
    sets = assign(made, found["valid"], arguments.labelled)
    corpus = Path(found["corpus_dir"])
    built_in = built_in_of(corpus)
    talks: dict[str, SoundSet] = {}
    if arguments.tedlium:
        talks, lost = scan_tedlium(arguments.tedlium, arguments.max_seconds)
        losses += lost
    said = {words for talk in talks.values() for words in talk.text.values()}
    notices = [*found["notices"], *check_apart(sets, said, built_in is not None)]
    notices += _losses_of_tests(cut_losses, found["clips"])
    names = (*SETS, "tedlium3_train", "tedlium3_dev", "audio")
    truth = built_in_phones(built_in, names) if built_in else {}
    rows: dict[str, dict[str, Any]] = {}
    for name, pieces in sets.items():
        write_av_set(data / name, pieces)
        write_times(data / name, pieces, truth)
        rows[name] = row_of(pieces)
    more, lost = _write_audiotext(data, talks, sets, truth)
    rows |= more
    losses += lost
    dropped = Counter(found["dropped"])
    for talk in talks.values():
        dropped += talk.dropped
    if arguments.audio_dir:
        only, lost = scan_audio(arguments.audio_dir, arguments.max_seconds, arguments.nj)
        only.write(data / "onlyaudio", truth.get("audio"))
        rows["onlyaudio"] = only.row()
        losses += lost
    kinds = count_losses(losses)
    if arguments.text:
        held_out = {piece.text for name in ("dev", "test") for piece in sets[name]}
        rows["onlytext"], lines = write_text_set(
            arguments.text, data / "onlytext", held_out, dropped
        )
        kinds |= lines
    _remove_old(data, set(rows))
    write_text(data / "excluded.txt", "".join(f"{loss}\n" for loss in losses))
    summary = {
        "corpus": "built-in talking faces" if built_in else found["layout"],
        "corpus_dir": str(corpus),
        "layout": found["layout"],
        "builtin": built_in is not None,
        "seed": arguments.seed,
        "labelled": arguments.labelled,
        "valid_source": found["valid_source"],
        "sets": {name: rows[name] for name in ORDER if name in rows},
        "excluded": kinds,
        "dropped_tokens": dict(dropped.most_common(20)),
        **_irregular(data, made),
        "notices": notices,
    }
    _print_summary(summary)
    write_json(data / "sets.json", summary)


def main(argv: list[str]) -> int:
    """One step; raises UserError on a corpus that cannot be used as asked."""
    arguments = parse_arguments(argv)
    {"scan": run_scan, "cut": run_cut, "write": run_write}[arguments.step](arguments)
    return 0


if __name__ == "__main__":
    run(main)
