"""Images made on the spot from a seed: ten kinds of strokes that cover the picture, in two colours
that differ from picture to picture.

The kind of stroke is the class: short or long ones in four directions, small or large blocks. A
single pixel, and the mean colour, is distributed alike in all classes; only the way in which
neighbouring pixels go together tells them apart, which a convolution sees and a linear classifier
hardly does. Directions are learned soon and lengths late, and one picture in seven is mislabelled,
so no net gets more than 87 % right. Together this keeps the tutorial's net between 50 % and 90 %
from two thousand steps on. `docs/tune_made_images.py` measures it.

Every number comes from the raw bits of PCG64, which NumPy guarantees never to change, by integer
arithmetic: a seed gives the same images, to the last bit, on every machine.
"""

import numpy as np

from blitz.images.cifar10 import SIDE, SPLITS

SHORT, LONG = 4, 9
SMALL, LARGE = 2, 4
SHADES = 20
"""The dark colour of a picture lies this close to black, the light one this close to white."""
MISLABELLED = 7
"""One picture in so many shows a kind of stroke drawn at random, whatever its label."""


Offsets = tuple[tuple[int, int], ...]
"""The pixels of a stroke, as (row, column)."""


def _strokes(length: int) -> list[Offsets]:
    """Return a horizontal, a falling, a vertical and a rising stroke, one pixel wide."""
    steps = range(length)
    return [
        tuple((0, i) for i in steps),
        tuple((i, i) for i in steps),
        tuple((i, 0) for i in steps),
        tuple((length - 1 - i, i) for i in steps),
    ]


def _block(side: int) -> Offsets:
    return tuple((row, column) for row in range(side) for column in range(side))


KINDS = (*_strokes(SHORT), _block(SMALL), *_strokes(LONG), _block(LARGE))
"""The stroke of each class."""


def make(count: int, split: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ``count`` pictures, count x 32 x 32 x 3 bytes, and the class of each.

    The classes are in random order and as many of each, or one more of the first ones. The two
    splits of a seed have nothing in common, whatever their size.
    """
    bits = np.random.PCG64(np.random.SeedSequence((seed, SPLITS.index(split))))
    # argsort of raw bits: Generator.permutation may change between releases (NEP 19).
    labels = (np.arange(count) % len(KINDS))[np.argsort(_random(bits, "<u8", count))]
    return _coloured(_patterns(bits, _shown(bits, labels)), bits), labels


def _shown(bits: np.random.PCG64, labels: np.ndarray) -> np.ndarray:
    """Return the kind of stroke that each picture shows: its label unless it is mislabelled."""
    draw, kind = _random(bits, "<u4", 2, len(labels))
    return np.where(draw % MISLABELLED == 0, kind % len(KINDS), labels)


def _patterns(bits: np.random.PCG64, kinds: np.ndarray) -> np.ndarray:
    """Return strokes of each kind in ``kinds``, N x 32 x 32, as 0 (dark) or 1 (light).

    Each pixel of a larger field draws a number and holds up a stroke of that height. What is seen
    at a pixel is the highest stroke that covers it, and its last bit is the stroke's colour.
    """
    # Larger than the picture, so that its edges are covered as often as its middle.
    field = SIDE + LONG - 1
    heights = _random(bits, "<u2", len(kinds), field, field)
    seen = np.empty((len(kinds), SIDE, SIDE), np.uint16)
    for number, kind in enumerate(KINDS):
        chosen = np.flatnonzero(kinds == number)
        below = heights[chosen]
        top = np.zeros((len(chosen), SIDE, SIDE), np.uint16)
        for row, column in kind:
            np.maximum(top, below[:, row : row + SIDE, column : column + SIDE], out=top)
        seen[chosen] = top
    return (seen & 1).astype(np.uint8)


def _coloured(patterns: np.ndarray, bits: np.random.PCG64) -> np.ndarray:
    """Colour patterns of 0 and 1, N x 32 x 32, with two colours each: N x 32 x 32 x 3."""
    shades = _random(bits, "u1", 2, len(patterns), 3) % (SHADES + 1)
    dark, light = shades[0], 255 - shades[1]
    pictures = np.empty((*patterns.shape, 3), np.uint8)
    for channel in range(3):
        step = (light - dark)[:, channel, None, None]
        pictures[..., channel] = dark[:, channel, None, None] + patterns * step
    return pictures


def _random(bits: np.random.PCG64, dtype: str, *shape: int) -> np.ndarray:
    """Draw integers over the whole range of ``dtype``, the same on machines of any byte order."""
    count = int(np.prod(shape))
    # random_raw gives 64 bits at a time.
    words = -(-count * np.dtype(dtype).itemsize // 8)
    return bits.random_raw(words).astype("<u8").view(dtype)[:count].reshape(shape)
