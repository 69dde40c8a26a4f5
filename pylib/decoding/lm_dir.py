"""Language-model directories: `lm.json` (what and where the model is) and `lexicon.txt`.

A model made here lies in the directory as `lm.arpa`; a given one (ARPA, ARPA.gz or KenLM binary)
stays where it is and `lm.json` holds its path and checksum.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pylib.corpus.atomic import atomic_path, sha256_file, write_json
from pylib.corpus.errors import UserError
from pylib.corpus.jsonfile import read_object
from pylib.decoding.arpa import arpa_counts
from pylib.decoding.lexicon import open_text, read_lines
from pylib.decoding.ngram import BOS, EOS, UNK, encode_text, estimate, perplexity, write_arpa

FORMAT = "trivium.lm/1"
_KENLM_MAGIC = b"mmap lm http://kheafield.com/code"
_PYTHON_WORDS = 30e6  # of a text for `estimate` unasked: about 9 GB


@dataclass(frozen=True)
class LmInfo:
    """Contents of `lm.json`. `file` is relative to the directory or absolute."""

    file: str
    sha256: str
    order: int | None  # None: a KenLM binary does not tell
    ngrams: list[int] | None
    made_by: str  # python | lmplz | given
    source: dict[str, Any]  # text, its checksum, sentences
    fallback_orders: list[int]
    format: str = FORMAT


def read_lm_info(lm_dir: str | Path) -> tuple[LmInfo, Path]:
    """(lm.json, path of the model file); UserError when either is missing or of another format."""
    path = Path(lm_dir) / "lm.json"
    try:
        info = LmInfo(**read_object(path, "make the model again", "run steps/make_lm.sh"))
        if not isinstance(info.file, str):
            raise TypeError(f"file {info.file!r}")
    except TypeError as error:
        raise UserError(f"{path}: not a {FORMAT} file ({error}): make the model again") from None
    model = Path(lm_dir) / info.file
    if not model.is_file():
        raise UserError(f"{model}: named in {path} but missing: make the model again")
    return info, model


def _is_kenlm_binary(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(_KENLM_MAGIC)) == _KENLM_MAGIC


def register_given(path: str | Path, lm_dir: str | Path) -> LmInfo:
    """Write lm.json for a model made elsewhere: ARPA (plain or gz) or KenLM binary."""
    model = Path(path).resolve()
    if not model.is_file():
        raise UserError(f"{path}: no such language model: check the path")
    counts = None if _is_kenlm_binary(model) else arpa_counts(model)
    info = LmInfo(
        file=str(model),
        sha256=sha256_file(model),
        order=len(counts) if counts else None,
        ngrams=counts,
        made_by="given",
        source={},
        fallback_orders=[],
    )
    write_json(Path(lm_dir) / "lm.json", asdict(info))
    return info


def _lmplz(text: Path, out: Path, order: int, memory: str) -> None:
    """Run KenLM's lmplz on plain sentences (gz read here: lmplz reads stdin)."""
    command = ["lmplz", "-o", str(order), "-S", memory, "-T", str(out.parent)]
    command += ["--discount_fallback"]
    with open_text(text) as source, out.open("wb") as sink:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=sink, stderr=subprocess.PIPE
        )
        assert process.stdin is not None and process.stderr is not None
        try:
            shutil.copyfileobj(source, _Utf8Writer(process.stdin))
            process.stdin.close()
        except BrokenPipeError:
            pass  # lmplz has stopped; its message says why
        message = process.stderr.read().decode(errors="replace")
        if process.wait() != 0:
            tail = "\n".join(message.strip().splitlines()[-5:])
            raise UserError(f"lmplz on {text}: exit {process.returncode}: {tail}")


def _check_fits(text: Path) -> None:
    """Refuse a text of more than about `_PYTHON_WORDS` words, by its size."""
    with open(text, "rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    words = text.stat().st_size * (3 if packed else 1) / 6
    if words > _PYTHON_WORDS:
        raise UserError(
            f"{text}: about {words / 1e6:.0f} million words, which take about "
            f"{words / 1e6 * 0.3:.0f} GB here: give a ready model (--lm, --given), put lmplz on "
            "PATH, or say --tool python"
        )


class _Utf8Writer:
    """Text in, UTF-8 bytes out (copyfileobj from a text stream into a pipe)."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def write(self, text: str) -> int:
        self._raw.write(text.encode())
        return len(text)


def make_lm(
    text: str | Path,
    lm_dir: str | Path,
    order: int = 4,
    tool: str = "auto",
    memory: str = "50%",
) -> LmInfo:
    """Estimate a model of `text` (one sentence a line, plain or gz) into `lm_dir`.

    tool: auto (lmplz when on PATH, else python), lmplz, python. memory: lmplz's `-S`.
    """
    if tool not in ("auto", "lmplz", "python"):
        raise UserError(f"--tool {tool}: expected auto, lmplz or python")
    if tool == "lmplz" and shutil.which("lmplz") is None:
        raise UserError("--tool lmplz: lmplz is not on PATH: install KenLM or use --tool python")
    use_lmplz = tool == "lmplz" or (tool == "auto" and shutil.which("lmplz") is not None)
    text, directory = Path(text), Path(lm_dir)
    if not text.is_file():
        raise UserError(f"{text}: no such text: check the path")
    if tool == "auto" and not use_lmplz:
        _check_fits(text)
    directory.mkdir(parents=True, exist_ok=True)
    arpa = directory / "lm.arpa"
    source: dict[str, Any] = {"text": os.fspath(text), "sha256": sha256_file(text)}
    fallback: list[int] = []
    with atomic_path(arpa) as temporary:
        if use_lmplz:
            _lmplz(text, temporary, order, memory)
        else:
            try:
                encoded = encode_text(read_lines(text))
            except UserError as error:
                raise UserError(f"{text}: {error}") from None
            model = estimate(encoded, order)
            write_arpa(temporary, model)
            fallback = model.fallback_orders
            source |= {
                "sentences": encoded.sentences,
                "discounts": [list(d) for d in model.discounts],
            }
    counts = arpa_counts(arpa)
    info = LmInfo(
        "lm.arpa",
        sha256_file(arpa),
        order,
        counts,
        "lmplz" if use_lmplz else "python",
        source,
        fallback,
    )
    write_json(directory / "lm.json", asdict(info))
    return info


def text_perplexity(
    model: str | Path, sentences: list[list[str]], words: set[str] | None = None
) -> dict[str, float | int]:
    """Perplexity of sentences under a model read by KenLM.

    words: the model's vocabulary, to count out-of-vocabulary words (None: not counted). Sentence
    ends are predicted and counted, words outside the model score as `<unk>`.
    """
    from pylib.decoding.lexicon_beam import load_kenlm

    vocabulary = sorted({word for sentence in sentences for word in sentence} - {UNK, BOS, EOS})
    index = {word: i for i, word in enumerate(vocabulary)}
    lm, _ = load_kenlm(model, vocabulary)
    total, tokens, oov = 0.0, 0, 0
    for sentence in sentences:
        state = lm.start(False)
        for word in sentence:
            state, score = lm.score(state, index[word])
            total += score
            oov += words is not None and word not in words
        total += lm.finish(state)[1]
        tokens += len(sentence) + 1
    return {"perplexity": perplexity(total, tokens), "tokens": tokens, "oov": oov}


def arpa_vocabulary(path: str | Path) -> set[str]:
    """Unigrams of an ARPA file (plain or gz), without marks; stops reading after them."""
    words: set[str] = set()
    inside = False
    for number, line in read_lines(path):
        if line == "\\1-grams:":
            inside = True
        elif inside and line.startswith("\\"):
            break
        elif inside and line:
            fields = line.split("\t")
            if len(fields) not in (2, 3):
                where = f"{path}:{number}: not a 1-gram line: {line[:60]!r}"
                raise UserError(f"{where}: make or fetch the model again")
            words.add(fields[1])
    return words - {UNK, BOS, EOS}
