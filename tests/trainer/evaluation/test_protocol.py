import re

import pytest
from timm.data.transforms_factory import transforms_imagenet_eval

from data.plan.config import EvalViews, Interpolation
from trainer.evaluation.protocol import SCALES, Protocol, UnknownProtocolError, parse, resized_side


def squares(
    side: int, resize: int | None, interpolation: Interpolation = "bilinear", *, five: bool = False, flip: bool = False
) -> Protocol:
    views = EvalViews(side=side, resize=resize, five=five, interpolation=interpolation)
    return Protocol(squares=views, flip=flip)


def scaled(*scales: int) -> Protocol:
    return Protocol(squares=EvalViews(side=1, resize=None), scales=scales)


NAMES = {
    "center-224/256": (squares(224, 256), "center-224/256", 1),
    "center-224": (squares(224, 256), "center-224/256", 1),
    "center-224/0.875": (squares(224, 256), "center-224/256", 1),
    "center-288/0.95": (squares(288, 303), "center-288/303", 1),
    "center-224/1": (squares(224, 224), "center-224/224", 1),
    "center-299": (squares(299, 341), "center-299/341", 1),
    "center-224/232+bicubic": (
        squares(224, 232, interpolation="bicubic"),
        "center-224/232+bicubic",
        1,
    ),
    "center-224+flip+bicubic": (
        squares(224, 256, interpolation="bicubic", flip=True),
        "center-224/256+bicubic+flip",
        2,
    ),
    "resize-384": (squares(384, None), "resize-384", 1),
    "resize-384+flip": (squares(384, None, flip=True), "resize-384+flip", 2),
    "ten-crop": (squares(224, 256, five=True), "ten-crop-224/256", 10),
    "ten-crop-299/0.9+bicubic": (
        squares(299, 332, five=True, interpolation="bicubic"),
        "ten-crop-299/332+bicubic",
        10,
    ),
    "multi-scale": (scaled(*SCALES), "multi-scale-224,256,384,480,640", 10),
    "multi-scale-64,96": (scaled(64, 96), "multi-scale-64,96", 4),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_says_everything_and_has_one_form_of_its_own(name: str) -> None:
    expected, canonical, views = NAMES[name]
    found = parse(name)
    assert found == expected == parse(found.name)
    assert (found.name, found.views) == (canonical, views)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("centre-224", "known are center-224/256"),
        ("center-224 /256", "known are"),
        ("", "known are"),
        ("center", "no size; sides are 8 to 2,048 whole pixels"),
        ("resize", "no size"),
        ("center-4", "4; sides are"),
        ("center-4096/8192", "4096; sides are"),
        ("center-2000/0.5", "4000 px; sides are 8 to 2,048"),
        ("center-256/224", "crops 256 px of an image of 224; name the larger size last"),
        ("center-224/1.2.3", "after the / comes the resized shorter side or the crop's share"),
        ("center-224/256.5", "256.5; sides are"),
        ("center-224/0", "0; sides are"),
        ("center-224,256", "224,256; sides are"),
        ("resize-224/256", "224/256; sides are"),
        ("multi-scale-224,,256", "no size"),
        ("multi-scale-224,3000", "3000; sides are"),
        ("ten-crop+flip", "+flip has both sides already"),
        ("multi-scale+flip", "+flip has both sides already"),
        ("center-224+nearest", "+nearest is none of +bicubic, +flip"),
        ("center-224+", "'center-224+' is unknown"),
    ],
)
def test_what_is_no_protocol_is_refused_with_a_mend(name: str, reason: str) -> None:
    with pytest.raises(UnknownProtocolError, match=re.escape(reason)):
        parse(name)


@pytest.mark.parametrize(
    ("crop", "share"), [(224, 0.875), (288, 0.95), (224, 0.9), (299, 0.875), (240, 0.965), (224, 0.7), (224, 0.56)]
)
def test_a_share_gives_the_size_that_timm_resizes_to(crop: int, share: float) -> None:
    resize = transforms_imagenet_eval(img_size=crop, crop_pct=share).transforms[0]
    assert resized_side(crop, share) == resize.size


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("center-224", "shorter side 256 px, centre crop 224 px, bilinear with antialias, one view"),
        (
            "resize-96+flip+bicubic",
            "whole image resized to 96 px square, bicubic with antialias, mean of the probabilities of 2 views",
        ),
        ("ten-crop", "four corners, centre (224 px) and their mirror images, bilinear"),
        ("multi-scale-64,96", "shorter side 64, 96 px, and its mirror image, fully convolutional"),
    ],
)
def test_people_are_told_in_words(name: str, words: str) -> None:
    assert words in parse(name).words
