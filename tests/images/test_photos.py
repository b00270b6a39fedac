"""Photos: any image file becomes 32 x 32 pixels in RGB, or its fault is named."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from blitz.images import photos


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "photo.png"


def saved(file: Path, image: Image.Image, **options: Any) -> np.ndarray:
    image.save(file, **options)
    return np.asarray(photos.read(file).image)


class TestSize:
    def test_any_size_becomes_32_by_32(self, file: Path) -> None:
        image = Image.new("RGB", (200, 50), (200, 0, 0))
        image.paste((0, 0, 200), (100, 0, 200, 50))

        pixels = saved(file, image)

        assert pixels.shape == (32, 32, 3)
        assert pixels[5, 2].tolist() == [200, 0, 0]
        assert pixels[5, 29].tolist() == [0, 0, 200]

    def test_32_by_32_stays_as_it_is(self, file: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)

        assert (saved(file, Image.fromarray(noise)) == noise).all()

    def test_what_is_converted_is_told(self, file: Path) -> None:
        for mode, size, converted in [("RGB", 32, False), ("RGB", 33, True), ("L", 32, True)]:
            Image.new(mode, (size, size)).save(file)
            assert photos.read(file).converted == converted

    def test_first_frame_of_an_animation_is_taken(self, tmp_path: Path) -> None:
        file = tmp_path / "photo.gif"
        first, second = (Image.new("RGB", (40, 40), color) for color in ("red", "blue"))
        first.save(file, save_all=True, append_images=[second])

        assert photos.read(file).image.getpixel((0, 0)) == (255, 0, 0)

    def test_photo_is_turned_upright(self, file: Path) -> None:
        image = Image.new("RGB", (32, 32), (255, 255, 255))
        image.paste((0, 0, 0), (0, 0, 32, 16))  # black above
        exif = Image.Exif()
        exif[0x0112] = 3  # upside down

        pixels = saved(file, image, exif=exif)

        assert pixels[0, 0].tolist() == [255] * 3
        assert pixels[31, 0].tolist() == [0] * 3


class TestColours:
    @pytest.mark.parametrize("mode", ["L", "P", "1"])
    def test_other_modes_become_rgb(self, file: Path, mode: str) -> None:
        image = Image.new("L", (40, 40), 255).convert(mode)

        assert saved(file, image).tolist() == [[[255, 255, 255]] * 32] * 32

    @pytest.mark.parametrize(
        ("mode", "suffix", "options"),
        [
            ("RGBA", "png", {}),
            ("LA", "png", {}),
            ("PA", "tiff", {}),
            ("P", "png", {"transparency": 0}),
            ("L", "png", {"transparency": 0}),
        ],
    )
    def test_what_is_transparent_becomes_white(
        self, tmp_path: Path, mode: str, suffix: str, options: dict[str, int]
    ) -> None:
        grey = Image.new("LA", (32, 32), (0, 0))
        grey.paste((10, 255), (0, 0, 16, 32))

        image = grey.convert(mode)
        if mode == "PA":
            image.putalpha(grey.getchannel("A"))

        pixels = saved(tmp_path / f"photo.{suffix}", image, **options)

        assert pixels[:, 16:].tolist() == [[[255] * 3] * 16] * 32
        assert pixels[:, :16].tolist() == [[[10] * 3] * 16] * 32

    def test_grey_that_is_multiplied_by_its_alpha_is_read(self, tmp_path: Path) -> None:
        file = tmp_path / "photo.tiff"
        Image.new("LA", (32, 32), (50, 128)).save(file)
        plain, multiplied = (bytes([0x52, 1, 3, 0, 1, 0, 0, 0, kind]) for kind in (2, 1))
        assert file.read_bytes().count(plain) == 1
        file.write_bytes(file.read_bytes().replace(plain, multiplied))

        pixels = np.asarray(photos.read(file).image)

        assert pixels.tolist() == [[[50 + 127] * 3] * 32] * 32

    @pytest.mark.parametrize(
        ("dtype", "values", "shown"),
        [
            (np.uint16, [0, 255, 256, 128 * 256 + 255, 65535], [0, 0, 1, 128, 255]),
            (np.int32, [-70000, -1, 511, 65536, 10**6], [0, 0, 1, 255, 255]),
            (np.float32, [0.0, 0.01, 0.5, 0.999, 1.0], [0, 2, 127, 254, 255]),
            (np.float32, [0.0, 0.9, 2.0, 128.0, 255.0], [0, 0, 2, 128, 255]),
        ],
    )
    def test_16_bits_and_fractions_are_scaled(
        self, tmp_path: Path, dtype: Any, values: list[int], shown: list[int]
    ) -> None:
        rows = np.full((32, 32), 0, dtype)
        rows[:5] = np.array(values, dtype)[:, None]

        pixels = saved(tmp_path / "photo.tiff", Image.fromarray(rows))

        assert pixels[:5].tolist() == [[[value] * 3] * 32 for value in shown]


def test_large_image_is_read_without_a_warning(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 801)  # from twice as many on it is a fault

    assert saved(file, Image.new("L", (40, 40), 7))[0, 0].tolist() == [7] * 3


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\n"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "No such file or directory"),
        (b"", "it is empty"),
        (b"hello", "its format is not known"),
        (EPS, "its format is not known"),
        (b"large", "DecompressionBombError: Image size"),
    ],
    ids=["missing", "empty", "text", "EPS runs a program", "bomb"],
)
def test_file_that_is_no_image_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, fault: str
) -> None:
    if content == b"large":
        Image.new("L", (40, 40)).save(file)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 799)
    elif content is not None:
        file.write_bytes(content)

    with pytest.raises(photos.PhotoError) as caught:
        photos.read(file)

    assert str(caught.value).startswith(f"{file} cannot be read as an image: {fault}")
