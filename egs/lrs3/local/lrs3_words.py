"""Utterances of the audio-text sets that have no phones: they are taken out before anything is made
of them.

The aligner leaves out a text with a word that neither the lexicon nor the rules can say. Found out
after it, the set would have utterances that some of its tables lack.
"""

from __future__ import annotations

from collections.abc import Mapping

from lrs3_cut import Made
from lrs3_more import SoundSet
from lrs3_tree import Loss

from pylib.corpus.errors import UserError
from pylib.units.pronounce import Pronouncer, read_lexicon

#: Set -> its utterances: of TED-LIUM, or pieces of clips.
Sets = Mapping[str, "SoundSet | list[Made]"]


def without_phones(name: str, text: Mapping[str, str], pronouncer: Pronouncer) -> list[Loss]:
    """Losses of the utterances of a set that steps/align_phones.sh would give no phones.

    Raises:
        UserError: all of them.
    """
    losses = []
    for utt, words in text.items():
        if pronouncer.words(words) is None:
            silent = [word for word in words.split() if not pronouncer.word(word)]
            what = f"{name}: {' '.join(silent) or 'no word'}: not in the lexicon, no rule says it"
            losses.append(Loss(utt, "no-phones", what))
    if len(losses) == len(text):
        raise UserError(f"{name}: no utterance has phones ({losses[0].what}): is it English?")
    return losses


def drop_without_phones(sets: Sets) -> tuple[Sets, list[Loss]]:
    """(the audio-text sets with phones for all, what was left out), as steps/align_phones.sh will
    find them without options."""
    pronouncer = Pronouncer(read_lexicon(None), "g2p")
    kept: dict[str, SoundSet | list[Made]] = {}
    losses: list[Loss] = []
    for name, found in sets.items():
        text = found.text if isinstance(found, SoundSet) else {p.utt: p.text for p in found}
        lost = without_phones(name, text, pronouncer)
        gone = {loss.item for loss in lost}
        if isinstance(found, SoundSet):
            found.remove(gone)
            kept[name] = found
        else:
            kept[name] = [piece for piece in found if piece.utt not in gone]
        losses += lost
    return kept, losses
