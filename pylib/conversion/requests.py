"""A pairs list as conversions to be made: names, and whose words are heard."""

from __future__ import annotations

import os

from pylib.conversion.methods import Request
from pylib.corpus.datadir import DataDir, check_speaker_order
from pylib.corpus.errors import UserError
from pylib.corpus.pairs import Pair, read_pairs
from pylib.corpus.tables import names_some


def plan(data: DataDir, pairs: str | os.PathLike[str], method: str) -> list[Request]:
    """Conversions of a list, sorted by name.

    A conversion is called `<target>-<source-utt>`. With method `target` what is heard is an
    utterance of the target: the one with the source's words where there is one, else one that is
    no reference; where the target has none of those, a reference.

    Raises:
        UserError: a broken list, names that the data lack, or that collide or sort otherwise than
            their speakers.
    """
    requests: dict[str, Request] = {}
    heard: dict[str, int] = {}
    for pair in read_pairs(pairs, data.utt2spk):
        name = f"{pair.target}-{pair.source}"
        if name in requests:
            raise UserError(
                f"{os.fspath(pairs)}: two conversions are called '{name}': rename the utterances"
            )
        carrier = pair.source
        if method == "target":
            turn = heard[pair.target] = heard.get(pair.target, -1) + 1
            carrier = _own(data, pair, turn)
        requests[name] = Request(name, pair.source, pair.target, pair.references, carrier)
    slashes = [name for name in requests if "/" in name]
    if slashes:
        raise UserError(
            f"{os.fspath(pairs)}: {names_some(slashes)}: an utterance id with '/' cannot be a file"
        )
    check_speaker_order({r.name: r.target for r in requests.values()}, os.fspath(pairs))
    return [requests[name] for name in sorted(requests)]


def _own(data: DataDir, pair: Pair, turn: int) -> str:
    """The utterance of the target that stands for the pair, the `turn`-th of its target."""
    utts = data.spk2utt[pair.target]
    if data.text is not None:
        same = [utt for utt in utts if data.text[utt] == data.text[pair.source]]
        if same:
            return same[0]
    free = [utt for utt in utts if utt not in pair.references] or list(pair.references)
    return free[turn % len(free)]
