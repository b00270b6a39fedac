"""Image files of any size and mode as what the classifier takes: 32 x 32 pixels in RGB."""

import os
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from blitz.base.errors import first_line
from blitz.images.cifar10 import SIDE, DataError


class PhotoError(DataError):
    """A file that cannot be read as an image; the message names it and the fault."""


class Photo(NamedTuple):
    """An image, 32 x 32 pixels in RGB, and whether its file holds another size or mode."""

    image: Image.Image
    converted: bool


def read(path: str | os.PathLike[str]) -> Photo:
    """Read the image in ``path``, stretched to 32 x 32 pixels.

    It is turned upright as its camera says, a transparent part becomes white, 16 bits and
    fractions are scaled to 8 bits, and of an animation the first frame is taken. Raises PhotoError.
    """
    Image.init()  # Image.OPEN is empty before
    safe = [name for name in Image.OPEN if name != "EPS"]  # for EPS Pillow runs Ghostscript
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large, or with odd metadata: readable all the same
            with Image.open(path, formats=safe) as image:
                upright = ImageOps.exif_transpose(image)
                # Colours first: a palette cannot be interpolated.
                pixels = _rgb(upright).resize((SIDE, SIDE))  # bicubic
                return Photo(pixels, (image.mode, image.size) != ("RGB", (SIDE, SIDE)))
    except UnidentifiedImageError:  # whose own sentence names the file once more
        fault = "its format is not known" if os.path.getsize(path) else "it is empty"
    except OSError as error:
        fault = error.strerror or str(error)
    except Exception as error:  # Pillow's decoders raise many types
        fault = f"{type(error).__name__}: {first_line(error)}"
    raise PhotoError(f"{path} cannot be read as an image: {fault}")


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits, which convert("RGB") would clip at 255
        # Shifted, not scaled by the largest: a dark photo stays dark.
        values = (np.asarray(image) >> 8).clip(0, 255)
        return Image.fromarray(values.astype(np.uint8)).convert("RGB")
    if image.mode == "F" and np.asarray(image).max() <= 1:  # from 0 to 1, as scikit-image saves
        return Image.fromarray(np.asarray(image) * 255).convert("RGB")
    if image.mode == "La":  # grey with its alpha multiplied in, which converts to LA only
        image = image.convert("LA")
    if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
        return image.convert("RGB")
    layered = image.convert("RGBA")
    # Transparent pixels have a colour too, often black, which nobody ever saw.
    white = Image.new("RGBA", layered.size, "white")
    return Image.alpha_composite(white, layered).convert("RGB")
