"""espeak's phoneme mnemonics, folded to plain phone names.

espeak marks stress and variants inside the name (`'aI@`, `I#`, `@2`, `t2`); for phone purity and
probes these are one phone.
"""

from __future__ import annotations

SILENCE = "SIL"
_STRESS = "',%="
_REDUCED = {"a#": "@", ";": "j"}  # weak a is a schwa; the palatal glide stands alone


def fold_phone(mnemonic: str) -> str:
    """Phone name of an espeak mnemonic: no stress, no variant mark, pauses as `SIL`."""
    name = mnemonic.strip(_STRESS)
    if not name or name[0] in "_|":
        return SILENCE
    if name in _REDUCED:
        return _REDUCED[name]
    head = name[0]
    tail = name[1:].rstrip("#-;~^").rstrip("0123456789")
    return head + tail


def merge_phones(phones: list[tuple[str, float]], end: float) -> list[tuple[str, float, float]]:
    """Turn (name, start) in time order into (name, start, end) that tile the time up to `end`.

    Items of no length are dropped and neighbouring silences joined. Times in seconds (or in any
    one unit).
    """
    merged: list[tuple[str, float, float]] = []
    for index, (name, start) in enumerate(phones):
        stop = phones[index + 1][1] if index + 1 < len(phones) else end
        if stop <= start:
            continue
        if merged and name == SILENCE and merged[-1][0] == SILENCE:
            merged[-1] = (SILENCE, merged[-1][1], stop)
        else:
            merged.append((name, start, stop))
    return merged
