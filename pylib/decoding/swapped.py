"""What a recogniser says of one clip, held against the words of another: a guess without input.

How far does knowing the language alone carry? Of the ways to take the input from a decoder, the
memory (encoder output) of another clip is the fair one. Zeros in its place are something no decoder
has met: it stops at once or never, and a fault of that kind would be an easy mark to beat. With the
memory of another clip the same decoder, beam and penalties write sentences of their usual wording
and length, right in all but what is said here. Since the search sees nothing of a clip but its
memory, to decode a clip with the memory of another is to write down the hypothesis of that other
clip: no decoding is needed, and none is done.

The other clip is half the set away in order of name: in a set sorted by speaker that is another
speaker, where the next clip could be the next piece of the same talk and share its words.
"""

from __future__ import annotations

from collections.abc import Mapping

from pylib.corpus.errors import UserError

SUFFIX = "_other"  # of the name of a decoding: v_other = lips of another clip


def swapped(hypotheses: Mapping[str, str], where: str) -> dict[str, str]:
    """Utterance -> words read from another of the utterances.

    Args:
        hypotheses: utterance -> words; those that have none stay without.
        where: for messages.

    Raises:
        UserError: fewer than two utterances.
    """
    utts = sorted(hypotheses)
    if len(utts) < 2:
        raise UserError(
            f"{where}: {len(utts)} hypotheses, no clip has another: two clips or more are needed"
        )
    half = len(utts) // 2
    return {utt: hypotheses[utts[(i + half) % len(utts)]] for i, utt in enumerate(utts)}
