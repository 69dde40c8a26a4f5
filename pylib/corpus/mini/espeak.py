"""espeak-ng through its C API: text in, samples and phone times out.

The library keeps global state (noise generator, voice, pending events) that no call resets, so the
same text said twice in one process gives different samples, while the same calls in a fresh
process give the same bytes. `build` therefore starts one process per speaker.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np

from pylib.corpus.errors import UserError

# speak_lib.h of espeak-ng 1.52
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_PHONEME_EVENTS = 0x0001
_INITIALIZE_DONT_EXIT = 0x8000
_EVENT_LIST_TERMINATED, _EVENT_WORD, _EVENT_END, _EVENT_PHONEME = 0, 1, 5, 7
_PARAMETERS = {"rate": 1, "volume": 2, "pitch": 3, "range": 4}
_CHARS_UTF8, _POS_CHARACTER = 1, 1


class _EventId(ctypes.Union):
    _fields_ = [
        ("number", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("string", ctypes.c_char * 8),
    ]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True)
class Speech:
    """One spoken text.

    samples: float32 (N,) in [-1, 1] at `rate` Hz. phones: (name in espeak's mnemonics, first
    sample), in time order; the last one ends at `end`, the sample where espeak stops speaking.
    """

    samples: np.ndarray
    rate: int
    phones: tuple[tuple[str, int], ...]
    end: int
    words: tuple[tuple[int, int], ...] = ()


class Synthesiser:
    """The espeak-ng library of the pip package `espeakng-loader`, one object per process."""

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise UserError(
                f"espeakng-loader: cannot be imported ({error}): install it with pip (the built-in "
                "corpus is spoken by it), or give a real corpus with --corpus-dir"
            ) from error
        self._lib = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path()
        self.rate: int = self._lib.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS,
            0,
            str(data).encode(),
            _INITIALIZE_PHONEME_EVENTS | _INITIALIZE_DONT_EXIT,
        )
        if self.rate <= 0:
            raise UserError(f"{data}: espeak-ng does not start: reinstall espeakng-loader")
        self._blocks: list[np.ndarray] = []
        self._phones: list[tuple[str, int]] = []
        self._words: list[tuple[int, int]] = []
        self._end = 0
        self._callback = _Callback(self._receive)  # kept: the library holds a bare pointer to it
        self._lib.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: object, count: int, events: object) -> int:
        if samples and count > 0:
            self._blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events[index].type != _EVENT_LIST_TERMINATED:  # type: ignore[index]
            event = events[index]  # type: ignore[index]
            if event.type == _EVENT_PHONEME:
                name = bytes(event.id.string).split(b"\0")[0].decode("utf-8", "replace")
                self._phones.append((name, event.sample))
            elif event.type == _EVENT_WORD:
                self._words.append((event.text_position - 1, event.sample))
            elif event.type == _EVENT_END:
                self._end = event.sample
            index += 1
        return 0

    def set_voice(self, voice: str) -> None:
        """Choose a voice such as `en-us+f2` (accent + variant).

        Raises UserError if espeak does not know it (espeak itself would keep the voice before).
        """
        if self._lib.espeak_SetVoiceByName(voice.encode()) != 0:
            raise UserError(f"espeak-ng voice {voice}: unknown: choose one that its data holds")

    def set_parameter(self, name: str, value: int) -> None:
        """Set `rate` (words/min, 80 to 450), `pitch`, `range` or `volume` (0 to 100)."""
        if self._lib.espeak_SetParameter(_PARAMETERS[name], int(value), 0) != 0:
            raise UserError(f"espeak-ng parameter {name}={value}: refused: choose another value")

    def say(self, text: str) -> Speech:
        """Speak `text` with the voice and parameters set before."""
        self._blocks, self._phones, self._words, self._end = [], [], [], 0
        data = text.encode("utf-8") + b"\0"
        code = self._lib.espeak_Synth(
            data, len(data), 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None
        )
        if code != 0 or self._lib.espeak_Synchronize() != 0 or not self._blocks:
            raise UserError(f"espeak-ng: no speech for {text!r} (code {code}): change the text")
        samples = np.concatenate(self._blocks).astype(np.float32) / 32768
        end = min(self._end, len(samples))
        return Speech(samples, self.rate, tuple(self._phones), end, tuple(self._words))
