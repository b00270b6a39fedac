"""Any image file as what the classifier takes: 32 x 32 pixels in RGB.

This is for pictures that a user brings. The images that a net is trained on are never converted:
:mod:`blitz.images.files` refuses those that do not fit.
"""

import os
import warnings

import numpy as np
from PIL import Image, ImageOps

from blitz.base.errors import BlitzError
from blitz.images.files import SIDE


class PhotoError(BlitzError, RuntimeError):
    """A file that cannot be read as an image; the message names it, the fault and the remedy."""


def read(path: str | os.PathLike[str]) -> Image.Image:
    """The image in ``path``, in RGB and squeezed or stretched to 32 x 32 pixels.

    It is turned upright as its camera says, a transparent part becomes white, a 16-bit one is
    scaled to 8 bits, and of a moving image the first frame is taken.

    Raises:
        PhotoError: the file is missing, or Pillow makes no image of it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large, or with odd metadata: readable all the same
            with Image.open(path) as image:
                upright = ImageOps.exif_transpose(image)
                return _rgb(upright).resize((SIDE, SIDE))  # bicubic
    except OSError as error:
        fault = error.strerror or str(error)
    except Exception as error:  # Pillow's decoders raise whatever they trip over
        fault = f"{type(error).__name__}: {error}"
    raise PhotoError(
        f"{path} cannot be read as an image: {fault}. Give an image file, such as a JPEG or a PNG."
    )


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits; Pillow would cut off all above 255
        values = (np.asarray(image) >> 8).clip(0, 255)
        return Image.fromarray(values.astype(np.uint8)).convert("RGB")
    if image.mode == "La":  # grey times alpha; Pillow turns it into nothing but this
        image = image.convert("LA")
    if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
        return image.convert("RGB")
    layered = image.convert("RGBA")
    white = Image.new("RGBA", layered.size, "white")
    return Image.alpha_composite(white, layered).convert("RGB")
