"""Writing and reading a scoring directory: Kaldi's text files and the JSON beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pylib.corpus.atomic import atomic_path, write_json, write_text
from pylib.corpus.errors import UserError
from pylib.corpus.jsonfile import read_json, read_object
from pylib.scoring import kaldi_files
from pylib.scoring.normalise import Normaliser
from pylib.scoring.significance import bootstrap_interval
from pylib.scoring.wer import Counts, Score, Utterance, count_pairs

FORMAT = "trivium.score/1"
ROW_FIELDS = ("system", "seed", "set", "measure", "decode", "value", "low", "high", "n", "file")


@dataclass(frozen=True)
class Origin:
    """Where a set of hypotheses comes from: fields of the summary row and details for reports."""

    system: str
    seed: int | None
    preset: str | None
    set: str
    decode: str
    run: dict[str, Any]
    settings: dict[str, Any]


def read_origin(decode_dir: str | Path, system: str | None, seed: int | None) -> Origin:
    """Origin of a decode directory from its decode.json and the run.json of the directory above.

    system, seed: for hypotheses from elsewhere, where there is no run.json.
    """
    directory = Path(decode_dir)
    settings = read_object(directory / "decode.json", "run steps/decode.sh")
    run_file = directory.parent / "run.json"
    if run_file.is_file():
        run = read_object(run_file, "train again")
        system = system if system is not None else run.get("system")
        seed = seed if seed is not None else run.get("seed")
    else:
        run = {}
    for name, value, kind in (("system", system, str), ("seed", seed, int)):
        if value is not None and not isinstance(value, kind):
            raise UserError(f"{run_file}: {name} is {value!r}: train again")
    for name in ("set", "decode"):
        if not isinstance(settings.get(name, ""), str):
            raise UserError(f"{directory}/decode.json: {name} is {settings[name]!r}: decode again")
    if system is None:
        raise UserError(
            f"{run_file}: not there, so the system is unknown: give --system (and --seed)"
        )
    try:
        return Origin(
            system, seed, run.get("preset"), settings["set"], settings["decode"], run, settings
        )
    except KeyError as error:
        raise UserError(f"{directory}/decode.json: no {error}: decode again") from None


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as stream:
        stream.writelines(lines)


def write_score(
    directory: Path, score: Score, origin: Origin, normaliser: Normaliser
) -> dict[str, Any]:
    """Write one measure's files (WER: per_utt, ops ...; CER: the same with `cer_` before).

    Returns the content of wer.json / cer.json, which is written last.
    """
    measure = "wer" if score.unit == "word" else "cer"
    prefix = "" if measure == "wer" else "cer_"
    directory.mkdir(parents=True, exist_ok=True)
    interval = bootstrap_interval(score)
    files: dict[str, Callable[[], Iterable[str]]] = {
        "per_utt": lambda: kaldi_files.per_utt_lines(score),
        "per_spk": lambda: kaldi_files.per_spk_lines(score),
        "ops": lambda: kaldi_files.ops_lines(score),
    }
    for name, lines in files.items():
        _write_lines(directory / f"{prefix}{name}", lines())
    hyp = str(directory.parent / "hyp")
    write_text(directory / f"best_{measure}", kaldi_files.best_lines(score, measure.upper(), hyp))
    write_text(
        directory / f"{measure}_bootci",
        f"Set1: %{measure.upper()} {score.rate:.2f} 95% Conf Interval "
        f"[ {interval.low:.2f}, {interval.high:.2f} ]\n",
    )
    write_json(directory / f"{prefix}per_utt.json", [_utterance_row(u) for u in score.utterances])
    write_json(directory / f"{prefix}per_spk.json", _speaker_rows(score))
    write_json(
        directory / f"{prefix}ops.json",
        [
            {"op": op, "ref": ref, "hyp": hyp_word, "count": n}
            for op, ref, hyp_word, n in kaldi_files.ops_counts(score)
        ],
    )
    if measure == "wer":
        _write_lines(directory / "ref.trn", kaldi_files.trn_lines(score, hypothesis=False))
        _write_lines(directory / "hyp.trn", kaldi_files.trn_lines(score, hypothesis=True))
        _write_lines(directory / "missing", (f"{utt}\n" for utt in score.missing))
    path = directory / f"{measure}.json"
    content = _content(path, score, origin, normaliser, asdict(interval))
    write_json(path, content)
    return content


def _content(
    path: Path, score: Score, origin: Origin, normaliser: Normaliser, interval: dict[str, Any]
) -> dict[str, Any]:
    c = score.counts
    return {
        "format": FORMAT,
        "system": origin.system,
        "seed": origin.seed,
        "set": origin.set,
        "measure": path.stem,
        "decode": origin.decode,
        "value": round(score.rate, 4),
        "low": round(interval["low"], 4),
        "high": round(interval["high"], 4),
        "n": c.reference,
        "file": str(path),
        "details": {
            "unit": "percent",
            "errors": c.errors,
            "correct": c.cor,
            "substitutions": c.sub,
            "insertions": c.ins,
            "deletions": c.dele,
            "sentences": len(score.utterances),
            "sentence_errors": score.sentence_errors,
            "speakers": len(score.by_speaker()),
            "missing": score.missing,
            "normaliser": normaliser.label,
            "space_counted": score.unit == "char",
            "interval": interval,
            "preset": origin.preset,
            "settings": origin.settings,
        },
    }


def _utterance_row(u: Utterance) -> dict[str, Any]:
    c = u.counts
    return {
        "utt": u.utt,
        "speaker": u.speaker,
        "missing": u.missing,
        "pairs": [list(pair) for pair in u.pairs],
        "csid": [c.cor, c.sub, c.ins, c.dele],
    }


def _speaker_rows(score: Score) -> list[dict[str, Any]]:
    rows = []
    for speaker, utterances in score.by_speaker().items():
        c = sum((u.counts for u in utterances), Counts())
        rows.append(
            {
                "speaker": speaker,
                "sentences": len(utterances),
                "reference": c.reference,
                "csid": [c.cor, c.sub, c.ins, c.dele],
                "value": round(100.0 * c.errors / c.reference, 4) if c.reference else None,
            }
        )
    return rows


def read_score(path: str | Path) -> tuple[dict[str, Any], Score]:
    """(wer.json or cer.json, the score rebuilt from the per_utt.json beside it)."""
    path = Path(path)
    content = read_object(path, "score again with steps/score_wer.sh")
    if content.get("format") != FORMAT:
        raise UserError(f"{path}: format {content.get('format')!r}, expected {FORMAT!r}")
    details = content.get("details")
    if content.get("measure") not in ("wer", "cer") or not isinstance(details, dict):
        raise UserError(f"{path}: neither WER nor CER with details: score again")
    prefix = "" if content["measure"] == "wer" else "cer_"
    beside = path.parent / f"{prefix}per_utt.json"
    try:
        rows = read_json(beside, "score again with steps/score_wer.sh")
        utterances = []
        for row in rows:
            pairs = tuple((str(r), str(h)) for r, h in row["pairs"])
            utterances.append(
                Utterance(row["utt"], row["speaker"], pairs, count_pairs(pairs), row["missing"])
            )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{beside}: broken ({error}): score again") from None
    score = Score("word" if content["measure"] == "wer" else "char", tuple(utterances))
    if score.counts.errors != details.get("errors"):
        raise UserError(f"{path}: totals differ from {beside}: score again")
    return content, score
