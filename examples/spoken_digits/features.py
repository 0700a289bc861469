"""Log-mel spectrograms and MFCC (Davis and Mermelstein 1980) of recordings of one second."""

import numpy as np
from speech import RATE

WINDOW, HOP, BANDS, CEPSTRA = 512, 220, 40, 13  # 23 ms every 10 ms
LOWEST, HIGHEST = 60.0, 8000.0  # Hz
FLOOR = 1e-3  # power of a faint hiss: there is no perfect silence
FRAMES = 1 + (RATE - WINDOW) // HOP


def mel(hertz):
    return 2595 * np.log10(1 + np.asarray(hertz) / 700)


def hertz(mel):
    return 700 * (10 ** (np.asarray(mel) / 2595) - 1)


def filter_bank():
    """(BANDS, WINDOW // 2 + 1): triangles of equal width in mel, up to their neighbours' tops."""
    edges = hertz(np.linspace(mel(LOWEST), mel(HIGHEST), BANDS + 2))[:, None]
    at = np.fft.rfftfreq(WINDOW, 1 / RATE)
    up = (at - edges[:-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[2:] - at) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(up, down))


def cosines():
    """(CEPSTRA, BANDS): the first rows of the DCT, which leave out how bands differ in detail."""
    k, band = np.arange(CEPSTRA)[:, None], np.arange(BANDS) + 0.5
    return np.sqrt(2 / BANDS) * np.cos(np.pi * k * band / BANDS)


_BANK, _COSINES, _TAPER = filter_bank(), cosines(), np.hanning(WINDOW)


def log_mel(samples):
    """(22050,) to (BANDS, FRAMES): the logarithm of each band's power."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP] * _TAPER
    power = np.abs(np.fft.rfft(frames)) ** 2
    return np.log(power @ _BANK.T + FLOOR).T


def centred(spectrograms):
    """(..., BANDS, FRAMES) without each band's mean over time: loudness and the microphone's colour
    do not count."""
    return spectrograms - spectrograms.mean(axis=-1, keepdims=True)


def mfcc(spectrograms):
    """(..., BANDS, FRAMES) to (..., CEPSTRA, FRAMES)."""
    return _COSINES @ spectrograms
