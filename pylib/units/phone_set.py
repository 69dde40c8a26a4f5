"""The phones of the text side: 42 symbols and four specials. No other file knows their ids.

39 phones of CMUdict without stress, silence, the word border and the apostrophe, in an order of
our own; the number of symbols is that of VATLM's phone dictionary.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pylib.corpus.errors import UserError

BOS, PAD, EOS, UNK = 0, 1, 2, 3
SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
BORDER, SILENCE, APOSTROPHE = "|", "<SIL>", "'"
# ARPAbet without stress, as in CMUdict.
ARPABET = (
    *("AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH"),
    *("IH", "IY", "JH", "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH"),
    *("UH", "UW", "V", "W", "Y", "Z", "ZH"),
)
SYMBOLS = (*SPECIALS, BORDER, SILENCE, APOSTROPHE, *ARPABET)  # id = place
COUNT = len(SYMBOLS)  # 46
_IDS = {symbol: number for number, symbol in enumerate(SYMBOLS)}
SIL = _IDS[SILENCE]
FIRST_PHONE = _IDS[ARPABET[0]]  # ids from here on are spoken
RATE = 100  # ids a second in `phones.scp`
FRAMES = 4  # of those in a frame of units (25 Hz)

# Names of silence in the alignments of others.
_SILENT = frozenset(
    {"SIL", "SP", "SPN", "NSN", "SIL_S", "SPN_S", "!SIL", "<EPS>", "EPS", "PAU", ""}
)


def fold(name: str) -> str:
    """A phone's name without stress (AH0), position (AH_B) and dialects of silence (`!SIL`)."""
    plain = re.sub(r"(?<=[A-Z])[0-2]$", "", re.sub(r"_[BIES]$", "", name.strip().upper()))
    return SILENCE if plain in _SILENT or plain == SILENCE else plain


def phone_id(name: str) -> int:
    """Id of a phone, its stress and word position left aside.

    Raises:
        UserError: not a phone of the set.
    """
    number = _IDS.get(fold(name))
    if number is None or number <= UNK:
        raise UserError(
            f"phone '{name}': not one of the {len(ARPABET)} of CMUdict, {BORDER}, {SILENCE} or "
            f"{APOSTROPHE}: map it to one of those"
        )
    return number


def phone_ids(names: Iterable[str]) -> list[int]:
    """Ids of phones in order. Raises UserError as `phone_id`."""
    return [phone_id(name) for name in names]


def phone_names(ids: Iterable[int]) -> list[str]:
    """Symbols of ids. Raises UserError for a number that is no id."""
    out = []
    for number in ids:
        if not 0 <= int(number) < COUNT:
            raise UserError(f"phone id {number}: expected 0 to {COUNT - 1}: make the phones anew")
        out.append(SYMBOLS[int(number)])
    return out


def phones_meta(**more: object) -> dict[str, object]:
    """What `phones.json` says: ids at 100 Hz of these symbols, frame t over [10 t, 10 (t+1)) ms.

    more: how they were made.
    """
    return {"kind": "phones", "rate": RATE, "align": "start", "symbols": list(SYMBOLS), **more}


def require_symbols(symbols: object, where: str) -> None:
    """Refuse ids of other symbols than ours. Raises UserError naming `where`."""
    if list(symbols if isinstance(symbols, list | tuple) else []) != list(SYMBOLS):
        raise UserError(
            f"{where}: symbols are not the {COUNT} of this version: make the phones anew with "
            "steps/align_phones.sh or steps/make_text_units.sh"
        )
