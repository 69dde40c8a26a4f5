"""What the judges make of converted speech (steps/judge_conversion.sh)."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pylib.bin.entry import run
from pylib.corpus.errors import UserError

if TYPE_CHECKING:
    from pylib.conversion.judge_files import Conversions
    from pylib.corpus.datadir import DataDir

JUDGES = ("speaker", "quality", "parallel", "spoof")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="judge_conversion", description=__doc__)
    parser.add_argument("natural", type=Path, help="data directory of natural speech")
    parser.add_argument("trials", help="list of steps/make_trials.sh, - for none")
    parser.add_argument("converted", type=Path, help="data directory of conversions")
    parser.add_argument("out", type=Path, help="JSON file to write")
    parser.add_argument("--judges", default="auto", help=f"of {','.join(JUDGES)}")
    parser.add_argument("--plan", action="store_true", help="print what is to be heard, and end")
    parser.add_argument("--threshold", help="JSON of judge_natural (default: from the trials)")
    parser.add_argument("--enrol", type=int, default=10, help="natural utterances a conversion")
    parser.add_argument("--bona-fide", type=Path, help="copy synthesis for the spoof detector")
    parser.add_argument("--spoof-train", default="", help="conversions of other systems")
    parser.add_argument("--asr-judge", type=Path, help="faster-whisper directory")
    parser.add_argument("--seed", type=int, default=0, help="of the spoof detector")
    return parser


def choose_judges(args: argparse.Namespace, conversions: Conversions, natural: DataDir) -> set[str]:
    """Which judges are asked: those named, or all for which there is what they need.

    Raises:
        UserError: a judge that does not exist, or lacks what it needs.
    """
    from pylib.conversion.judge_files import parallel_of

    lacks = {
        "speaker": "" if args.trials != "-" else "a list of trials",
        "quality": "",
        "parallel": ""
        if parallel_of(conversions, natural)
        else f"readings of the same words by the targets in {natural.path}",
        "spoof": "" if args.bona_fide else "--bona-fide, copy synthesis by the same vocoder",
    }
    if args.judges == "auto":
        for name, missing in lacks.items():
            if missing:
                print(f"judge '{name}' is not asked: it needs {missing}")
        return {name for name, missing in lacks.items() if not missing}
    names = set(args.judges.replace(",", " ").split())
    for name in sorted(names):
        if name not in lacks:
            raise UserError(f"--judges: no judge '{name}': choose among {', '.join(JUDGES)}")
        if lacks[name]:
            raise UserError(f"--judges: '{name}' needs {lacks[name]}")
    return names


def read_threshold(path: str) -> float:
    """The threshold in a file of judge_natural.

    Raises:
        UserError: no such file, or not such a file.
    """
    try:
        return float(json.loads(Path(path).read_text(encoding="utf-8"))["threshold"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: no threshold in it ({error!r}): give the file that steps/judge_natural.sh "
            "wrote"
        ) from error


def _words(args: argparse.Namespace, conversions: Conversions) -> dict[str, Any]:
    """WER and CER by the user's recogniser."""
    from pylib.conversion.judge_asr import AsrJudge, plain_texts
    from pylib.conversion.judge_files import read
    from pylib.scoring.conversion import Estimate
    from pylib.scoring.normalise import get_normaliser
    from pylib.scoring.significance import bootstrap_interval
    from pylib.scoring.wer import score_set

    data = conversions.data
    if data.text is None:
        raise UserError(f"{data.path}/text: missing: --asr-judge needs the words of the source")
    judge = AsrJudge(args.asr_judge)
    hyps = {utt: judge.transcribe(read(data, utt)) for utt in data.utts}
    out = {}
    for name, unit in (("asr_judge_wer", "word"), ("asr_judge_cer", "char")):
        score = score_set(plain_texts(data.text), hyps, data.utt2spk, get_normaliser("none"), unit)
        interval = bootstrap_interval(score)
        out[name] = Estimate(score.rate, interval.low, interval.high, score.counts.reference)
    return out


def measure(
    args: argparse.Namespace, conversions: Conversions, natural: DataDir, judges: set[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """All estimates by measure, and details for the file."""
    from pylib.bin import judging
    from pylib.conversion.judge_files import META, load_conversions
    from pylib.conversion.judge_speaker import MIN_SPEECH
    from pylib.conversion.judge_spoof import TooFewSpeakers

    found: dict[str, Any] = {}
    details: dict[str, Any] = {"judges": META, "convert": dict(conversions.info)}
    if "speaker" in judges:
        trials = judging.natural_trials(natural, args.trials)
        threshold = read_threshold(args.threshold) if args.threshold else trials.eer.threshold
        found |= judging.speaker_measures(conversions, natural, trials, threshold, args.enrol)
        details["threshold"] = threshold
        details["natural_eer"] = trials.eer.eer
        details["hardly_any_speech"] = judging.without_speech(conversions.data, MIN_SPEECH)
    if "quality" in judges:
        found |= judging.quality(conversions.data)
    if "parallel" in judges:
        estimates, silent = judging.parallel_measures(conversions, natural)
        found |= estimates
        details["parallel_without_speech"] = silent
    if "spoof" in judges:
        more = [load_conversions(path) for path in args.spoof_train.split()]
        genuine = load_conversions(args.bona_fide)
        try:
            estimates, details["spoof"] = judging.spoof_measures(
                conversions, genuine, more, natural, args.seed
            )
            found |= estimates
        except TooFewSpeakers as error:
            if args.judges != "auto":
                raise
            print(f"judge 'spoof' is not asked: {error}")
            details["spoof"] = {"not_measured": str(error)}
    if args.asr_judge:
        found |= _words(args, conversions)
    return found, details


def main(argv: list[str]) -> int:
    """Measure and write; see `--help`."""
    args = _parser().parse_args(argv)

    from pylib.conversion.judge_files import load_conversions
    from pylib.corpus.atomic import write_json
    from pylib.corpus.datadir import DataDir
    from pylib.corpus.trials import read_trials
    from pylib.scoring.conversion import result_row
    from pylib.scoring.measures import describe_row

    natural = DataDir.load(args.natural)
    conversions = load_conversions(args.converted)
    judges = choose_judges(args, conversions, natural)
    if args.plan:  # bad input is refused before anything is heard
        if args.threshold:
            read_threshold(args.threshold)
        if "speaker" in judges:
            read_trials(args.trials, natural.utt2spk)
        if "spoof" in judges:
            load_conversions(args.bona_fide)
        print("kinds " + ",".join(sorted(judges - {"spoof"})))
        return 0
    found, details = measure(args, conversions, natural, judges)
    identity = {
        "system": conversions.system,
        "seed": conversions.info.get("seed"),
        "set": Path(str(conversions.info.get("data") or natural.path)).name,  # what was converted
    }
    rows = [
        result_row(identity, name, conversions.decode, estimate, str(args.out))
        for name, estimate in found.items()
    ]
    write_json(args.out, {"results": rows, "details": details})
    for row in rows:
        print(describe_row(row))
    return 0


if __name__ == "__main__":
    run(main)
