"""Alignments as a page of their own and as parts of the report."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from pylib.corpus.atomic import write_text
from pylib.scoring.wer import GAP, Score, Utterance


@cache
def _environment() -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=jinja2.select_autoescape(["html"]),  # markdown takes text as it is
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def render(template: str, **values: Any) -> str:
    """Render templates/<template>; values are escaped in html, a missing one is an error."""
    return str(_environment().get_template(template).render(**values))


def alignment_view(utterance: Utterance) -> dict[str, Any]:
    """What the alignment template shows of an utterance."""
    columns = []
    for ref, hyp in utterance.pairs:
        kind = "ins" if ref == GAP else "del" if hyp == GAP else "cor" if ref == hyp else "sub"
        columns.append({"ref": ref, "hyp": hyp, "kind": kind})
    return {
        "utt": utterance.utt,
        "speaker": utterance.speaker,
        "errors": utterance.counts.errors,
        "words": utterance.counts.reference,
        "missing": utterance.missing,
        "columns": columns,
    }


def worst(score: Score, count: int) -> list[Utterance]:
    """Utterances with errors, most errors first, then by key."""
    wrong = [u for u in score.utterances if u.counts.errors]
    return sorted(wrong, key=lambda u: (-u.counts.errors, u.utt))[:count]


def write_alignments(path: Path, score: Score, title: str) -> None:
    """Write all alignments, worst first, as one self-contained page."""
    ordered = worst(score, len(score.utterances))
    ordered += [u for u in score.utterances if not u.counts.errors]
    page = render(
        "alignments.html",
        title=title,
        rate=score.rate,
        utterances=[alignment_view(u) for u in ordered],
    )
    write_text(path, page)
