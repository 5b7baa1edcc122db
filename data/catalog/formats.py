"""File formats and colour spaces as a manifest numbers them. Append only: the numbers lie on people's disks."""

FORMATS = ("OTHER", "RAW", "JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "MPO")
"""Names as Pillow gives them; RAW: planes of red, green and blue bytes, as CIFAR stores them."""
MODES = ("OTHER", "RGB", "L", "CMYK", "RGBA", "P", "LA", "1", "I", "I;16", "F", "PA", "YCbCr")
"""Names as Pillow gives them."""

RAW = FORMATS.index("RAW")
JPEG = FORMATS.index("JPEG")
RGB = MODES.index("RGB")
GREY = MODES.index("L")


def number(name: str | None, names: tuple[str, ...]) -> int:
    """Index of a name in one of the tables above; 0 for one that it lacks."""
    return names.index(name) if name in names else 0
