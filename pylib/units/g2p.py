"""Phones of words that no lexicon has, by espeak-ng's rules, folded to the 39 of CMUdict."""

from __future__ import annotations

import ctypes
import re

from pylib.corpus.errors import UserError
from pylib.corpus.mini.phones import fold_phone

# speak_lib.h of espeak-ng 1.52
_SYNCHRONOUS, _DONT_EXIT, _UTF8 = 2, 0x8000, 1
_SEPARATOR = "_"

# espeak's mnemonics for American English = ARPAbet. Centring diphthongs are a vowel and R, as
# CMUdict writes them.
_TABLE = (
    "a=AE aa=AE A=AA A:=AA 0=AA O=AO O:=AO E=EH e=EH I=IH i=IY i:=IY U=UH u=UW u:=UW V=AH "
    "@=AH 3=ER 3:=ER aI=AY aU=AW eI=EY oU=OW OI=OY A@=AA+R O@=AO+R o@=AO+R e@=EH+R i@=IH+R "
    "i@3=IH+R U@=UH+R aI@=AY+AH aI3=AY+ER aU@=AW+ER @L=AH+L b=B tS=CH d=D D=DH f=F g=G h=HH "
    "dZ=JH k=K x=K l=L m=M n=N N=NG p=P r=R s=S S=SH t=T ?=T T=TH v=V w=W j=Y ;=Y z=Z Z=ZH "
)
_ARPABET = dict(item.split("=") for item in _TABLE.split())


def from_espeak(mnemonic: str) -> tuple[str, ...]:
    """ARPAbet phones of an espeak mnemonic; empty where it is a pause or another language's."""
    name = mnemonic.strip("',%=")
    for tried in (name, fold_phone(name)):
        if tried in _ARPABET:
            return tuple(_ARPABET[tried].split("+"))
    return ()


class Rules:
    """espeak-ng's spelling rules for American English."""

    def __init__(self) -> None:
        """
        Raises:
            UserError: espeakng-loader is not installed or does not start.
        """
        try:
            import espeakng_loader
        except ImportError as error:
            raise UserError(
                f"espeakng-loader: cannot be imported ({error}): install it with pip (it "
                "pronounces words that the lexicon lacks), or use --oov drop"
            ) from error
        self._lib = ctypes.CDLL(espeakng_loader.get_library_path())
        data = str(espeakng_loader.get_data_path()).encode()
        if (
            self._lib.espeak_Initialize(_SYNCHRONOUS, 0, data, _DONT_EXIT) <= 0
            or self._lib.espeak_SetVoiceByName(b"en-us") != 0
        ):
            raise UserError("espeak-ng does not start: reinstall espeakng-loader")
        self._lib.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._lib.espeak_TextToPhonemes.argtypes = [
            ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int,
        ]  # fmt: skip

    def __call__(self, word: str) -> tuple[str, ...]:
        """Phones of a word; empty where espeak finds none (punctuation, another script)."""
        text = ctypes.c_char_p(word.lower().encode("utf-8"))
        phones: list[str] = []
        while text.value:
            said = self._lib.espeak_TextToPhonemes(
                ctypes.byref(text), _UTF8, ord(_SEPARATOR) << 8
            )  # fmt: skip
            # (en) and the like tell of a change of voice.
            plain = re.sub(r"\([a-z-]+\)", "", (said or b"").decode("utf-8", "replace"))
            for mnemonic in re.split(rf"[{_SEPARATOR}\s]+", plain):
                phones += from_espeak(mnemonic)
        return tuple(phones)
