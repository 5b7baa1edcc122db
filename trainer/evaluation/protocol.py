"""Named protocols: how each image is resized and cropped, and which views are averaged. Loads no torch."""

import math
import re
from dataclasses import dataclass
from typing import Literal

from data.plan.config import EvalViews, Interpolation

Kind = Literal["center", "resize", "ten-crop", "multi-scale"]

SCALES = (224, 256, 384, 480, 640)  # 1512.03385, section 3.4
USUAL_SHARE = 0.875  # side of the crop over the shorter side of the resized image: 224 / 256
SIDES = range(8, 2049)  # pixels, as in `data.plan.config.InputConfig`

KNOWN = "center-224/256, center-288/0.95, center-299, resize-224, ten-crop, ten-crop-224/256, multi-scale"
MODIFIERS = "+bicubic, +flip"

_FORM = re.compile(
    r"(?P<kind>center|resize|ten-crop|multi-scale)(?:-(?P<sizes>[0-9.,/]+))?(?P<modifiers>(?:\+[a-z]+)*)"
)


class UnknownProtocolError(ValueError):
    """There is no protocol of that name; the message lists those that there are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """What is done to every image of an evaluation."""

    squares: EvalViews
    """The squares that the network sees; of multi-scale only their interpolation counts."""
    scales: tuple[int, ...] = ()
    """Of multi-scale only: shorter sides, pixels, at which the network sees the whole image, fully convolutionally."""
    flip: bool = False
    """Each view and its mirror image count half each; ten-crop and multi-scale always have both."""

    @property
    def kind(self) -> Kind:
        """The first part of the name."""
        if self.scales:
            return "multi-scale"
        if self.squares.five:
            return "ten-crop"
        return "center" if self.squares.resize else "resize"

    @property
    def name(self) -> str:
        """The name that `parse` reads back to an equal protocol."""
        modifiers = "+bicubic" * (self.squares.interpolation == "bicubic") + "+flip" * self.flip
        resize = f"/{self.squares.resize}" if self.squares.resize else ""
        return f"{self.kind}-{','.join(map(str, self.scales)) or f'{self.squares.side}{resize}'}{modifiers}"

    @property
    def words(self) -> str:
        """A description for people."""
        side, resize, scales = self.squares.side, self.squares.resize, ", ".join(map(str, self.scales))
        seen = {
            "center": f"shorter side {resize} px, centre crop {side} px",
            "resize": f"whole image resized to {side} px square",
            "ten-crop": f"shorter side {resize} px, four corners, centre ({side} px) and their mirror images",
            "multi-scale": f"whole image, shorter side {scales} px, and its mirror image, fully convolutional",
        }
        views = "one view" if self.views == 1 else f"mean of the probabilities of {self.views} views"
        return f"{seen[self.kind]}, {self.squares.interpolation} with antialias, {views}"

    @property
    def views(self) -> int:
        """Number of views of each image."""
        mirrored = self.flip or self.squares.five or self.scales
        return (len(self.scales) or self.squares.count) * (2 if mirrored else 1)


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
    kind, sizes, words = form["kind"], form["sizes"], form["modifiers"].split("+")[1:]
    known = ("bicubic", "flip") if kind in ("center", "resize") else ("bicubic",)
    if unknown := [word for word in words if word not in known]:
        reason = "has both sides already" if unknown[0] == "flip" else f"is none of {MODIFIERS}"
        raise UnknownProtocolError(f"{name!r}: +{unknown[0]} {reason}")
    interpolation: Interpolation = "bicubic" if "bicubic" in words else "bilinear"
    if kind == "multi-scale":
        scales = tuple(_side(name, side) for side in sizes.split(",")) if sizes else SCALES
        return Protocol(squares=EvalViews(side=1, resize=None, interpolation=interpolation), scales=scales)
    five = kind == "ten-crop"
    side, resize = (_side(name, sizes), None) if kind == "resize" else _crop(name, sizes or "224/256" * five)
    squares = EvalViews(side=side, resize=resize, five=five, interpolation=interpolation)
    return Protocol(squares=squares, flip="flip" in words)


def resized_side(crop: int, share: float) -> int:
    """Shorter side, pixels, of which a crop takes that share.

    Reference:
        timm.data.transforms_factory.transforms_imagenet_eval: floor(img_size / crop_pct).
    """
    return math.floor(crop / share)


def _crop(name: str, sizes: str) -> tuple[int, int]:
    crop, _, rest = sizes.partition("/")
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
