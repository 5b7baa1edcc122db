"""How an image becomes what a network sees, by name: the same name is the same number. Standard library only."""

import math
import re
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["center", "resize", "ten-crop", "multi-scale"]
Interpolation = Literal["bilinear", "bicubic"]

SCALES = (224, 256, 384, 480, 640)  # 1512.03385, section 3.4
USUAL_SHARE = 0.875  # of the resized image's shorter side that a crop takes: 224 of 256
SIDES = range(8, 2049)  # pixels, as `data.plan.config.InputConfig` has them

KNOWN = "center-224/256, center-288/0.95, center-299, resize-224, ten-crop, ten-crop-224/256, multi-scale"
MODIFIERS = "+bicubic, +flip"

_FORM = re.compile(
    r"(?P<kind>center|resize|ten-crop|multi-scale)(?:-(?P<sizes>[0-9.,/]+))?(?P<modifiers>(?:\+[a-z]+)*)"
)


class UnknownProtocolError(ValueError):
    """A name that is no protocol's; the message says which there are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """What is done to every image of an evaluation."""

    kind: Kind
    """center and ten-crop: resize the shorter side, then crop. resize: the whole image to a square. multi-scale: the
    whole image with its shorter side at each of `scales`, the network applied fully convolutionally."""
    crop: int = 0
    """Side of the square that the network sees, pixels; 0 with multi-scale."""
    resize: int = 0
    """Shorter side of the image before the crop, pixels; 0 without a crop."""
    scales: tuple[int, ...] = ()
    """Shorter sides, pixels; multi-scale only."""
    interpolation: Interpolation = "bilinear"
    """How pixels are computed, with antialias, as Pillow does."""
    flip: bool = False
    """Each view and its mirror image count half each; ten-crop and multi-scale always have both."""

    @property
    def name(self) -> str:
        """The name that `parse` reads back to an equal protocol."""
        modifiers = "+bicubic" * (self.interpolation == "bicubic") + "+flip" * self.flip
        match self.kind:
            case "center" | "ten-crop":
                return f"{self.kind}-{self.crop}/{self.resize}{modifiers}"
            case "resize":
                return f"resize-{self.crop}{modifiers}"
            case "multi-scale":
                return f"multi-scale-{','.join(map(str, self.scales))}{modifiers}"

    @property
    def words(self) -> str:
        """The same for people."""
        match self.kind:
            case "center":
                seen = f"shorter side {self.resize} px, centre crop {self.crop} px"
            case "resize":
                seen = f"whole image resized to {self.crop} px square"
            case "ten-crop":
                seen = f"shorter side {self.resize} px, four corners, centre ({self.crop} px) and their mirror images"
            case "multi-scale":
                scales = ", ".join(map(str, self.scales))
                seen = f"whole image, shorter side {scales} px, and its mirror image, fully convolutional"
        views = "one view" if self.views == 1 else f"mean of the probabilities of {self.views} views"
        return f"{seen}, {self.interpolation} with antialias, {views}"

    @property
    def views(self) -> int:
        """How many of each image the network sees."""
        match self.kind:
            case "ten-crop":
                return 10
            case "multi-scale":
                return 2 * len(self.scales)
            case _:
                return 2 if self.flip else 1


def parse(name: str) -> Protocol:
    """A protocol from its name.

    Args:
        name: `center-CROP/RESIZE` in pixels, `center-CROP/SHARE` for the crop's share of the resized shorter side,
            `center-CROP` for a share of 0.875, `resize-SIDE`, `ten-crop[-CROP/RESIZE]`, `multi-scale[-SIDE,...]`; then
            perhaps `+bicubic` and, of the first two, `+flip`.

    Raises:
        UnknownProtocolError: It is none of these.
    """
    form = _FORM.fullmatch(name)
    if not form:
        raise UnknownProtocolError(f"{name!r} is unknown; known are {KNOWN}, with any sizes, and then {MODIFIERS}")
    kind, sizes = form["kind"], form["sizes"]
    match kind:
        case "center" | "ten-crop":
            default = "224/256" if kind == "ten-crop" else None
            crop, resize = _crop(name, sizes or default)
            found = Protocol(kind=kind, crop=crop, resize=resize)
        case "resize":
            found = Protocol(kind=kind, crop=_side(name, sizes))
        case _:
            scales = tuple(_side(name, side) for side in sizes.split(",")) if sizes else SCALES
            found = Protocol(kind="multi-scale", scales=scales)
    return _modified(name, found, [word for word in form["modifiers"].split("+") if word])


def center(crop: int, resize: int, interpolation: Interpolation = "bilinear") -> Protocol:
    """One crop of the middle of the resized image; sizes in pixels."""
    return Protocol(kind="center", crop=crop, resize=resize, interpolation=interpolation)


def resized_side(crop: int, share: float) -> int:
    """Shorter side, pixels, of which a crop takes that share.

    Reference:
        timm.data.transforms_factory.transforms_imagenet_eval: floor(img_size / crop_pct).
    """
    return math.floor(crop / share)


def _crop(name: str, sizes: str | None) -> tuple[int, int]:
    crop, _, rest = (sizes or "").partition("/")
    side = _side(name, crop)
    try:
        share = float(rest or USUAL_SHARE)
    except ValueError:
        raise UnknownProtocolError(
            f"{name!r}: after the / comes the resized shorter side or the crop's share"
        ) from None
    resize = resized_side(side, share) if 0 < share <= 1 else _side(name, rest)
    if not side <= resize:
        raise UnknownProtocolError(f"{name!r}: crops {side} px of an image of {resize}; name the larger size last")
    if resize not in SIDES:
        raise UnknownProtocolError(f"{name!r}: {resize} px; sides are {SIDES[0]} to {SIDES[-1]:,} pixels")
    return side, resize


def _side(name: str, text: str | None) -> int:
    if not text or not text.isdecimal() or int(text) not in SIDES:
        raise UnknownProtocolError(f"{name!r}: {text or 'no size'}; sides are {SIDES[0]} to {SIDES[-1]:,} whole pixels")
    return int(text)


def _modified(name: str, protocol: Protocol, words: list[str]) -> Protocol:
    for word in words:
        match word:
            case "bicubic":
                protocol = replace(protocol, interpolation="bicubic")
            case "flip" if protocol.kind in ("center", "resize"):
                protocol = replace(protocol, flip=True)
            case _:
                reason = "has both sides already" if word == "flip" else f"is none of {MODIFIERS}"
                raise UnknownProtocolError(f"{name!r}: +{word} {reason}")
    return protocol
