"""Recordings of eSpeak NG's voices, from the PyPI package espeakng-loader."""

import ctypes
from pathlib import Path

import numpy as np

RATE = 22050  # samples a second
ACCENTS = ("en-us", "en-us-nyc", "en", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-rp",
           "en-gb-x-gbcwmd", "en-029")  # fmt: skip
SYNCHRONOUS, UTF8 = 2, 1
SPEED, PITCH, RANGE = 1, 3, 4
_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class Speech:
    """The synthesizer, of which a program has one.

    >>> Speech().say("seven", "en+f2", speed=160, pitch=50)  # 22,050 samples a second, -1 to 1
    """

    def __init__(self):
        try:
            import espeakng_loader
        except ImportError:
            raise SystemExit("the voices are in a package: pip install espeakng-loader") from None
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path()
        rate = self._library.espeak_Initialize(SYNCHRONOUS, 0, data.encode(), 0)
        if rate != RATE:
            raise SystemExit(f"eSpeak NG finds no voices in {data} (espeak_Initialize: {rate})")
        self._parts = []
        self._callback = _Callback(self._take)  # as long as the library calls it
        self._library.espeak_SetSynthCallback(self._callback)
        self.variants = sorted(path.name for path in Path(data, "voices", "!v").iterdir())

    def say(self, text, voice, speed, pitch, intonation=50):
        """`voice`: an accent and a variant; `speed`: words a minute; the others: 0 to 100."""
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f'eSpeak NG has no voice "{voice}"')
        for parameter, value in ((SPEED, speed), (PITCH, pitch), (RANGE, intonation)):
            self._library.espeak_SetParameter(parameter, int(value), 0)
        self._parts.clear()
        data = text.encode() + b"\0"
        self._library.espeak_Synth(data, len(data), 0, 0, 0, UTF8, None, None)
        return np.concatenate(self._parts) / 32768

    def _take(self, samples, count, _events):
        if samples and count:
            self._parts.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0
