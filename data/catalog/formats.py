"""Formats and colour spaces of images, as manifests number them. Standard library only."""

# Append only: manifests on disk hold the numbers.
FORMATS = ("OTHER", "RAW", "JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "MPO", "AVIF")
"""Names as Pillow gives them; RAW: planes of red, green and blue bytes, as CIFAR stores them."""
MODES = ("OTHER", "RGB", "L", "CMYK", "RGBA", "P", "LA", "1", "I", "I;16", "F", "PA", "YCbCr", "I;16B")
"""Names as Pillow gives them."""

RAW = FORMATS.index("RAW")
JPEG = FORMATS.index("JPEG")
RGB = MODES.index("RGB")
GREY = MODES.index("L")
DEEP = [MODES.index(mode) for mode in ("I", "I;16", "I;16B", "F")]  # greys whose values above 255 become 255


def number(name: str | None, names: tuple[str, ...]) -> int:
    """Index of a name in one of the tables above; 0 for one that it lacks."""
    return names.index(name) if name in names else 0
