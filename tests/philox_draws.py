"""The random numbers of a layer, as the core draws them (csrc/core/random.h), in numpy."""

import numpy as np


def stream_of(name, number=0):
    """A layer's stream of its `number`-th array of draws."""
    hashed = 0xCBF29CE484222325
    for byte in name.encode():
        hashed = ((hashed ^ byte) * 0x100000001B3) % 2**64
    return (hashed + number) % 2**64


def words(seed, stream, count):
    """The first words of a stream: Philox4x32-10."""
    index = np.arange(-(-count // 4), dtype=np.uint64)
    low = np.uint64(0xFFFFFFFF)
    c0, c1 = index & low, index >> np.uint64(32)
    c2, c3 = (np.full_like(index, part) for part in (stream & 0xFFFFFFFF, stream >> 32))
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1 = (p1 >> np.uint64(32)) ^ c1 ^ np.uint64(k0), p1 & low
        c2, c3 = (p0 >> np.uint64(32)) ^ c3 ^ np.uint64(k1), p0 & low
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return np.stack([c0, c1, c2, c3], axis=1).ravel()[:count]


def uniform(seed, stream, shape):
    """In [0, 1)."""
    bits = words(seed, stream, int(np.prod(shape)))
    return (bits >> np.uint64(8)).astype(np.float64).reshape(shape) * 2.0**-24


def quantiles(seed, stream, shape):
    """Where in the normal distribution the Gaussian draws lie: in (0, 1)."""
    bits = words(seed, stream, int(np.prod(shape)))
    return ((bits >> np.uint64(9)).astype(np.float64).reshape(shape) + 0.5) * 2.0**-23
