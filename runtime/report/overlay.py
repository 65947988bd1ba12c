"""Pictures of a label map: blended over its frame, with a legend and a line that shows the clocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from runtime.step import Origin, StepLike
from staged_onnx.palettes import Classes, colour_table
from weights.errors import ShapeError

__all__ = ["Overlay", "blend", "colours", "heat", "legend", "origin_picture", "side_by_side", "status_line"]

_GROUND = (22, 24, 28)
_TEXT = (236, 238, 240)
_FAINT = (146, 152, 160)
_FIRED = (255, 176, 32)
_MIN_WIDTH = 320  # narrower frames are enlarged, else nothing beside them could be read
_LONGEST_NAME = 24


@dataclass(frozen=True)
class Overlay:
    """How to draw a step: `draw` gives the picture.

    `classes`: None where what comes out has none. `stages`: names in order, the head included, one box each
    in the status line. `alpha`: share of the
    label colour. `beside`: the frame itself to the left of the blended one. Frames narrower than 320
    pixels are enlarged by a whole factor.
    """

    classes: Classes | None
    stages: tuple[str, ...] = ()
    alpha: float = 0.5
    beside: bool = False
    show_legend: bool = True
    show_status: bool = True

    def blended(self, image: np.ndarray, output: np.ndarray, *, kind: str = "labels") -> np.ndarray:
        """The frame under its labels, or what takes its place, and nothing else.

        Args:
            image: The frame, uint8 height x width x 3, RGB.
            output: What came out for it.
            kind: What that is, such as "labels" or "picture".

        Returns:
            uint8, RGB.
        """
        return self._body(image, output, kind)

    def draw(
        self, image: np.ndarray, output: np.ndarray, step: StepLike | None = None, *, kind: str = "labels"
    ) -> np.ndarray:
        """One frame and what the bundle gave for it.

        Args:
            image: The frame, uint8 (height, width, 3).
            output: Labels, uint8 (height, width), which are blended over the frame; or what `kind` says.
            step: The frame's record, shown in a status line below.
            kind: What `output` is, one of `staged_onnx.outputs.KINDS`: a picture or a map takes the frame's
                place; scores are named in a line of their own.

        Returns:
            uint8 RGB, the legend at the bottom where there is one; its size depends on the frame's size, the
            kind and the options alone.
        """
        picture = self._body(image, output, kind)
        if self.beside:
            picture = side_by_side(image, picture)
        origin = getattr(step, "origin", None)
        if origin is not None:
            picture = side_by_side(picture, origin_picture(image, origin))
        factor = -(-_MIN_WIDTH // picture.shape[1])
        if factor > 1:
            picture = picture.repeat(factor, axis=0).repeat(factor, axis=1)
        height, width = picture.shape[:2]
        strips = [picture]
        if step is not None and self.show_status:
            strips.append(status_line(step, self.stages, width))
        if kind in ("scores", "vector"):
            strips.append(_numbers_line(output, self.classes if kind == "scores" else None, width))
        elif self.show_legend and self.classes is not None:
            strips.append(legend(self.classes, width, max_height=height // 3))
        return np.concatenate(strips)

    def _body(self, image: np.ndarray, output: np.ndarray, kind: str) -> np.ndarray:
        if kind == "picture":
            return output
        if kind == "map":
            return heat(output)
        if kind != "labels":
            return image
        return blend(image, output, self.classes.palette if self.classes is not None else (), self.alpha)


_FRESH, _OLD, _OLD_AGE = np.array((70, 200, 140)), np.array((255, 140, 0)), 8


def origin_picture(image: np.ndarray, origin: Origin) -> np.ndarray:
    """A frame coloured by how far away the key frame of each pixel's label is, and dark where that is unsure.

    Args:
        image: The frame, uint8 height x width x 3, RGB.
        origin: Where its labels come from.

    Returns:
        uint8 RGB of the frame's size: green on a key frame, to orange eight frames from it and more.
    """
    size = (image.shape[1], image.shape[0])
    old = np.abs(origin.age[..., np.newaxis]).clip(0, _OLD_AGE) / _OLD_AGE
    colour = (_FRESH + (_OLD - _FRESH) * old) * origin.sure[..., np.newaxis].clip(0, 1)
    large = Image.fromarray(np.rint(colour).astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
    grey = image.mean(axis=2, keepdims=True)
    return np.asarray(np.rint(0.35 * grey + 0.65 * np.asarray(large)), np.uint8)


_HEAT = np.array(
    [(13, 8, 35), (85, 15, 109), (187, 55, 84), (249, 142, 9), (252, 255, 164)], np.float32
)  # dark to bright, in even steps of lightness


def heat(values: np.ndarray) -> np.ndarray:
    """A map, H x W or C x H x W (of which the length counts), as colours from its least to its greatest."""
    plane = values if values.ndim == 2 else np.sqrt(np.square(values, dtype=np.float64).sum(0))
    finite = plane[np.isfinite(plane)]
    least, most = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    share = np.nan_to_num((plane - least) / (most - least) if most > least else np.zeros_like(plane))
    at = share.clip(0, 1) * (len(_HEAT) - 1)
    low = np.floor(at).astype(int).clip(0, len(_HEAT) - 2)
    part = (at - low)[..., np.newaxis]
    return np.asarray(np.rint(_HEAT[low] * (1 - part) + _HEAT[low + 1] * part), np.uint8)


def _numbers_line(values: np.ndarray, classes: Classes | None, width: int) -> np.ndarray:
    """A strip with the greatest numbers and what they belong to."""
    font, em = _font(width)
    strip = Image.new("RGB", (width, 2 * em), _GROUND)
    best = np.argsort(-values, kind="stable")[:5]
    names = [classes.names[i] if classes is not None and i < len(classes) else str(i) for i in best]
    text = "   ".join(f"{name} {values[i]:.3g}" for name, i in zip(names, best, strict=True))
    ImageDraw.Draw(strip).text((em // 2, em), text, fill=_TEXT, font=font, anchor="lm")
    return np.asarray(strip)


def blend(
    image: np.ndarray, labels: np.ndarray, palette: Sequence[Sequence[int]] | np.ndarray, alpha: float = 0.5
) -> np.ndarray:
    """`(1 - alpha) * image + alpha * palette[labels]`.

    Labels whose colour is black, and labels beyond the palette, leave the frame as it is.

    Args:
        image: The frame, uint8 height x width x 3, RGB.
        labels: uint8, height x width.
        palette: Colours in label order, each R, G, B from 0 to 255.
        alpha: Share of the label's colour.

    Returns:
        uint8 RGB of the frame's size.

    Raises:
        ShapeError: `labels` does not have the frame's height and width.
    """
    if labels.shape != image.shape[:2]:
        raise ShapeError("labels do not fit the frame", found=labels.shape, expected=image.shape[:2])
    table = colour_table(palette)
    frame, flat = Image.fromarray(image), Image.fromarray(labels)
    shown = flat.point(np.where(table.any(axis=1), 255, 0).tolist())
    flat.putpalette(table.tobytes())
    mixed = Image.blend(frame, flat.convert("RGB"), alpha)
    return np.array(Image.composite(mixed, frame, shown))


def colours(labels: np.ndarray, palette: Sequence[Sequence[int]] | np.ndarray) -> np.ndarray:
    """`palette[labels]`, uint8 RGB of the labels' height and width.

    Args:
        labels: uint8, height x width.
        palette: Colours in label order; labels beyond them are black.

    Returns:
        uint8, height x width x 3, RGB.
    """
    return colour_table(palette)[labels]


def side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two pictures with a narrow gap between them.

    Args:
        left: uint8, height x width x 3.
        right: uint8, of the same height.

    Returns:
        uint8, of the same height.
    """
    gap = np.full((left.shape[0], max(2, left.shape[1] // 160), 3), _GROUND, np.uint8)
    return np.concatenate([left, gap, right], axis=1)


@lru_cache(maxsize=8)
def legend(classes: Classes, width: int, max_height: int = 10_000) -> np.ndarray:
    """A strip with the colour and name of each class.

    Classes for which there is no space are counted in its last cell.

    Args:
        classes: Names and colours.
        width: The strip's width, in pixels.
        max_height: The greatest height it may have, in pixels.

    Returns:
        uint8, height x width x 3. The array is shared: do not write to it.
    """
    font, em = _font(width)
    names = [
        name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…" for name in classes.names
    ]
    pad, swatch, row = em // 2, em, round(em * 1.5)
    cell = swatch + pad + max(round(font.getlength(name)) for name in names) + 2 * pad
    columns = max(1, min(len(names), (width - 2 * pad) // cell))
    cell = max(cell, (width - 2 * pad) // columns)
    rows = min(-(-len(names) // columns), max(1, (max_height - pad) // row))
    strip = Image.new("RGB", (width, rows * row + pad), _GROUND)
    draw = ImageDraw.Draw(strip)
    room = rows * columns
    shown = len(names) if len(names) <= room else room - 1
    for k in range(shown):
        x, y = pad + k % columns * cell, pad // 2 + k // columns * row
        top = y + (row - swatch) // 2
        draw.rectangle(
            (x, top, x + swatch - 1, top + swatch - 1), fill=classes.palette[k], outline=_FAINT, width=1
        )
        draw.text((x + swatch + pad, y + row // 2), names[k], fill=_TEXT, font=font, anchor="lm")
    if shown < len(names):
        x, y = pad + shown % columns * cell, pad // 2 + shown // columns * row
        draw.text((x, y + row // 2), f"and {len(names) - shown} more", fill=_FAINT, font=font, anchor="lm")
    return np.asarray(strip)


def status_line(step: StepLike, stages: Sequence[str], width: int) -> np.ndarray:
    """A strip with the frame's number, a box per stage, signal and time.

    A box is filled where the stage fired on this frame, else hollow; the number in it is the age of the
    stage's output in the picture, where that is not 0. Where space is short, the stages' names go first, then
    what stands at the right.

    Args:
        step: The frame's step.
        stages: The names of the stages, in order.
        width: The strip's width, in pixels.

    Returns:
        uint8, height x width x 3.
    """
    font, em = _font(width)
    small, _ = _font(width, 0.8)
    pad, box, height = em // 2, round(em * 1.25), round(em * 2)
    strip = Image.new("RGB", (width, height), _GROUND)
    draw = ImageDraw.Draw(strip)
    middle = height // 2

    def slot(x: int, text: str, widest: str, colour: tuple[int, int, int]) -> int:
        """Writes `text` at x if `widest` fits there, and gives the place after it."""
        end = x + round(font.getlength(widest))
        if end + pad > width:
            return width
        draw.text((x, middle), text, fill=colour, font=font, anchor="lm")
        return end + 2 * pad

    x = slot(pad, f"frame {step.index}", "frame 000000", _TEXT)
    named = x + sum(box + 3 * pad + round(font.getlength(stage)) for stage in stages) <= width
    age_width = max(box, round(small.getlength("000")))
    for stage in stages:
        if x + age_width + pad > width:
            break
        fired, age = stage in step.fired, step.ages.get(stage, 0)
        corner = (x, middle - box // 2, x + age_width - 1, middle - box // 2 + box - 1)
        colour = _FIRED if fired else _FAINT
        draw.rectangle(corner, fill=_FIRED if fired else None, outline=colour, width=max(1, em // 10))
        if age > 0:
            text = str(age) if age < 1000 else "…"
            draw.text(
                (x + age_width // 2, middle), text, fill=_GROUND if fired else _TEXT, font=small, anchor="mm"
            )
        x += age_width + pad
        if named:
            x = slot(x, stage, stage, _TEXT if fired else _FAINT)
    x = slot(x, "" if step.signal is None else f"signal {step.signal:.3f}", "signal 0.000", _TEXT)
    slot(x, "" if step.time is None else f"{float(step.time):.2f} s", "00000.00 s", _FAINT)
    return np.asarray(strip)


@lru_cache(maxsize=16)
def _font(width: int, share: float = 1.0) -> tuple[ImageFont.FreeTypeFont, int]:
    """A font that can be read in a picture `width` pixels wide, and its size in pixels."""
    size = max(8, round((7.5 + width / 110) * share))
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("this Pillow was built without FreeType")
    return font, size
