"""Moving shapes: a generated video with a label for every pixel, the same bits on every platform.

The class of an object is its *shape*, and each class has a pattern of its own; colours, size and angle are
drawn at random and say nothing about it. So a net has to look at much of an object to name it (a deep
stage), and at the edge to place it (a shallow one).

Everything is integer arithmetic on the raw 64-bit output of PCG64, which NumPy keeps stable (the methods of
``Generator`` are not); no float decides a pixel. Lengths are in 1/16 pixel, angles in 1/1024 turn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

CLASS_NAMES: tuple[str, ...] = ("background", "disc", "square", "triangle", "star", "cross", "ring")
"""Names of the classes; a label is an index into them."""

PALETTE: tuple[tuple[int, int, int], ...] = (
    (0, 0, 0),
    (230, 60, 50),
    (60, 120, 245),
    (250, 205, 40),
    (190, 70, 220),
    (50, 190, 90),
    (60, 215, 225),
)
"""One RGB colour per class."""

FRAME_SIZE: tuple[int, int] = (176, 240)
"""Height and width of a frame where none is asked for."""

TRAIN_SEEDS = range(100_000, 200_000)
VAL_SEEDS = range(100_000)

Speed = Literal["static", "slow", "fast"]
Split = Literal["train", "val"]
Labels = NDArray[np.uint8]
Frames = NDArray[np.uint8]
Ints = NDArray[np.int64]

_SUB = 16  # one pixel
_RIM = 3 * _SUB  # by so much the rimless body has a smaller radius
_TURN = 1024  # a full turn
_ONE = 1 << 14  # 1.0 of the sine table
# Rounded to 14 bits: no entry lies near enough to a half for the last bit of a platform's sine to matter.
_SIN: tuple[int, ...] = tuple(round(math.sin(2 * math.pi * i / _TURN) * _ONE) for i in range(_TURN))

_CELL = 8  # pixels between the points of the finer background lattice
_REACH = 60  # pixels around the frame: an object that has gone so far is out of view whatever its size


@dataclass(frozen=True)
class Shot:
    """A run of frames: ``frames`` uint8 N x H x W x 3 (RGB), ``labels`` uint8 N x H x W, and a name."""

    frames: Frames
    labels: Labels
    name: str


@dataclass(frozen=True)
class _Object:
    """One object: its class, where it is at frame 0, how it moves and how it is painted."""

    label: int
    radius: int
    position: tuple[int, int]  # y, x
    velocity: tuple[int, int]  # y, x per frame
    angle: int
    spin: int
    stays: bool  # turns round at the border of the frame instead of leaving
    born: int  # first frame it is seen on
    gone: int  # first frame it is no longer seen on
    texture: int
    period: int
    colours: Ints  # 2 x 3
    tones: Ints  # 8 x 8, zeros and ones


class _Dice:
    """Integers from the raw output of PCG64: ``range`` is exact fixed-point scaling, the same
    everywhere."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def range(self, low: int, high: int) -> int:
        """One integer of ``low <= i < high``."""
        return low + ((int(self._bits.random_raw()) >> 32) * (high - low) >> 32)

    def chance(self, one_in: int) -> bool:
        """True once in ``one_in`` throws."""
        return self.range(0, one_in) == 0

    def signed(self, low: int, high: int) -> int:
        """``low <= |i| < high``, either sign."""
        size = self.range(low, high)
        return -size if self.chance(2) else size

    def array(self, shape: tuple[int, ...], low: int, high: int) -> Ints:
        """An array of ``low <= i < high``."""
        raw = self._bits.random_raw(math.prod(shape)) >> np.uint64(32)
        scaled = (raw * np.uint64(high - low)) >> np.uint64(32)
        return scaled.astype(np.int64).reshape(shape) + low

    def bytes(self, count: int) -> Ints:
        """``count`` integers of 0..255, eight a draw, lowest byte first."""
        raw = self._bits.random_raw(-(-count // 8)).astype("<u8")
        return raw.view(np.uint8)[:count].astype(np.int64)


def _value_noise(dice: _Dice, size: tuple[int, int], cell: int, amplitude: int) -> Ints:
    """Smooth periodic noise of -amplitude..amplitude on ``size`` pixels (multiples of ``cell``): a random
    lattice, interpolated bilinearly in integers."""
    rows, columns = size[0] // cell, size[1] // cell
    lattice = dice.array((rows, columns), -amplitude, amplitude + 1)
    y, x = np.arange(size[0]), np.arange(size[1])
    top, left = y // cell, x // cell
    down, right = (top + 1) % rows, (left + 1) % columns
    fy, fx = (y % cell)[:, None], (x % cell)[None, :]
    upper = lattice[np.ix_(top, left)] * (cell - fx) + lattice[np.ix_(top, right)] * fx
    lower = lattice[np.ix_(down, left)] * (cell - fx) + lattice[np.ix_(down, right)] * fx
    return np.floor_divide(upper * (cell - fy) + lower * fy, cell * cell).astype(np.int64)


def _background(dice: _Dice, size: tuple[int, int]) -> Ints:
    """A muted, mottled H x W x 3 picture that repeats itself both ways, so that a camera can pan over
    it."""
    base = dice.range(60, 190)
    tint = dice.array((3,), -24, 25)
    coarse = _value_noise(dice, size, 4 * _CELL, dice.range(16, 48))
    fine = _value_noise(dice, size, _CELL, dice.range(6, 30))
    grain = dice.array((*size, 3), -6, 7)
    return (coarse + fine)[:, :, None] + grain + (base + tint)


def _colour(dice: _Dice) -> list[int]:
    """A saturated colour: one channel high, one low, one anywhere."""
    channels = [dice.range(170, 256), dice.range(0, 80), dice.range(0, 256)]
    turn = dice.range(0, 3)
    if dice.chance(2):
        channels.reverse()
    return channels[turn:] + channels[:turn]


def _object(
    dice: _Dice,
    index: int,
    label: int,
    frames: int,
    size: tuple[int, int],
    speed: Speed,
    camera: tuple[int, int],
) -> _Object:
    """Object ``index`` at a random place, for frames of ``size`` under a ``camera`` that moves so."""
    radius = dice.range(23 * _SUB, 43 * _SUB)
    area = (size[0] + 2 * _REACH, size[1] + 2 * _REACH)
    position = (dice.range(0, area[0] * _SUB), dice.range(0, area[1] * _SUB))
    slow, quick = {"static": (0, 1), "slow": (6, 28), "fast": (56, 136)}[speed]
    heading, pace = dice.range(0, _TURN), dice.range(slow, quick)
    stays = index % 3 != 1
    drift = (0, 0) if stays else camera
    velocity = (
        (pace * _SIN[heading] >> 14) + drift[0],
        (pace * _SIN[(heading + _TURN // 4) % _TURN] >> 14) + drift[1],
    )
    turning = {"static": 1, "slow": 5, "fast": 17}[speed]
    spin = dice.signed(0, turning)
    born, gone = 0, frames
    if speed != "static" and index % 4 == 3:
        born = dice.range(0, max(1, frames // 2))
        gone = dice.range(born + 1, frames + frames // 2 + 2)
    first = _colour(dice)
    shade = dice.range(80, 180)
    second = [channel * shade >> 8 for channel in first]
    return _Object(
        label=label,
        radius=radius,
        position=position,
        velocity=velocity,
        angle=dice.range(0, _TURN),
        spin=spin,
        stays=stays,
        born=born,
        gone=gone,
        texture=label - 1,
        period=dice.range(5 * _SUB, 11 * _SUB),
        colours=np.array([first, second], dtype=np.int64),
        tones=dice.array((8, 8), 0, 2),
    )


def _centre(thing: _Object, frame: int, axis: int, pixels: int) -> int:
    """Where an object's centre is along one axis of a frame of so many ``pixels``."""
    travelled = thing.position[axis] + frame * thing.velocity[axis]
    if thing.stays:
        margin = min(thing.radius * 3 // 4, pixels * _SUB // 3)
        span = pixels * _SUB - 2 * margin
        there = travelled % (2 * span)
        return margin + min(there, 2 * span - there)
    # What leaves on one side comes in on the other.
    return travelled % ((pixels + 2 * _REACH) * _SUB) - _REACH * _SUB


def _inside(label: int, u: Ints, v: Ints, radius: int) -> NDArray[np.bool_]:
    """Which points of the object's own coordinates lie in its shape."""

    def beyond(sides: int, distance: int) -> Ints:
        """How many of the ``sides`` lines at ``distance`` around the centre each point lies outside of."""
        count = np.zeros_like(u)
        for side in range(sides):
            angle = (_TURN * side // sides) % _TURN
            along = u * _SIN[(angle + _TURN // 4) % _TURN] + v * _SIN[angle]
            count += along > distance * _ONE
        return count

    square_distance = u * u + v * v
    match CLASS_NAMES[label]:
        case "disc":
            return square_distance <= radius * radius
        case "ring":
            hole = radius * 8 // 16
            return (square_distance <= radius * radius) & (square_distance >= hole * hole)
        case "square":
            return np.maximum(np.abs(u), np.abs(v)) <= radius * 13 // 16
        case "cross":
            short, long = np.minimum(np.abs(u), np.abs(v)), np.maximum(np.abs(u), np.abs(v))
            return (short <= radius * 6 // 16) & (long <= radius)
        case "triangle":
            return beyond(3, radius * 9 // 16) == 0
        case _:
            # A pentagram is what lies outside at most one of the five lines that its strokes are drawn on.
            return beyond(5, radius * 13 // 32) <= 1


def _texture(thing: _Object, u: Ints, v: Ints) -> Ints:
    """0 or 1 for each point: which of the object's two colours it shows."""
    column, row = u // thing.period, v // thing.period
    match thing.texture:
        case 0:
            return np.zeros_like(u)
        case 1:
            return column & 1
        case 2:
            return (column + row) & 1
        case 3:
            half = thing.period // 2
            du, dv = u % thing.period - half, v % thing.period - half
            return (8 * (du * du + dv * dv) < 5 * half * half).astype(np.int64)
        case 4:
            return (np.maximum(np.abs(u), np.abs(v)) // thing.period) & 1
        case _:
            return thing.tones[row & 7, column & 7]


def _paint(thing: _Object, frame: int, picture: Ints, labels: Labels) -> None:
    """Draw one object over ``picture`` and ``labels``."""
    if not thing.born <= frame < thing.gone:
        return
    height, width = labels.shape
    y, x = _centre(thing, frame, 0, height), _centre(thing, frame, 1, width)
    reach = thing.radius * 4 // 3 + _SUB  # the points of a star lie 1.32 radii out
    top, bottom = max(0, (y - reach) // _SUB), min(height, (y + reach) // _SUB + 1)
    left, right = max(0, (x - reach) // _SUB), min(width, (x + reach) // _SUB + 1)
    if top >= bottom or left >= right:
        return
    dy = (np.arange(top, bottom, dtype=np.int64) * _SUB + _SUB // 2 - y)[:, None]
    dx = (np.arange(left, right, dtype=np.int64) * _SUB + _SUB // 2 - x)[None, :]
    angle = (thing.angle + frame * thing.spin) % _TURN
    sine, cosine = _SIN[angle], _SIN[(angle + _TURN // 4) % _TURN]
    u, v = (dx * cosine + dy * sine) >> 14, (dy * cosine - dx * sine) >> 14
    mask = _inside(thing.label, u, v, thing.radius)
    window = (slice(top, bottom), slice(left, right))
    labels[window][mask] = thing.label
    # A dark rim of its colour sets an object off from one of like colour behind it.
    body = _inside(thing.label, u, v, thing.radius - _RIM)[:, :, None]
    colours = np.where(body, thing.colours[_texture(thing, u, v)], thing.colours[0] >> 2)
    picture[window][mask] = colours[mask]


def shapes_shot(
    seed: int,
    frames: int = 30,
    size: tuple[int, int] = FRAME_SIZE,
    speed: Speed = "slow",
    pan: bool = False,
    objects: int = 4,
    name: str | None = None,
) -> Shot:
    """One shot: same arguments, same bits, everywhere.

    The objects move over a mottled background and hide one another (later ones lie in front). Two in three
    turn round at the border, the third leaves and comes back; one in four is there for a part of the shot
    only. Every frame of a moving shot has its own sensor noise.

    Args:
        seed: What all random choices follow from.
        frames: How many frames.
        size: Height and width.
        speed: "static" nothing moves and every frame is the same, "slow" 0.4 to 1.7 pixels per frame, "fast"
            3.5 to 8.5.
        pan: Move the camera, too (0.5 to 5 pixels per frame): it takes the background along, and the objects
            that come and go.
        objects: How many objects.
        name: What the shot is called, by default after its arguments.

    Returns:
        The frames and their labels.

    Raises:
        ValueError: An unknown speed, no frames, or a size below 16 x 16.
    """
    if speed not in ("static", "slow", "fast"):
        raise ValueError(f"speed is {speed!r}, one of static, slow, fast is expected")
    if frames < 1 or min(size) < 16 or objects < 0:
        raise ValueError(
            f"{frames} frames of {size} with {objects} objects: at least 1 frame of 16 x 16 is expected"
        )
    dice = _Dice(seed)
    low, high = {"static": (0, 1), "slow": (8, 24), "fast": (40, 80)}[speed]
    camera = (dice.signed(low // 2, high // 2 + 1), dice.signed(low, high)) if pan else (0, 0)
    lattice = 4 * _CELL
    canvas = _background(dice, (-(-size[0] // lattice) * lattice, -(-size[1] // lattice) * lattice))
    shapes = len(CLASS_NAMES) - 1
    start = dice.range(0, shapes)
    things = [_object(dice, i, 1 + (start + i) % shapes, frames, size, speed, camera) for i in range(objects)]
    pictures = np.empty((frames, *size, 3), dtype=np.uint8)
    labels = np.zeros((frames, *size), dtype=np.uint8)
    noise = np.zeros((*size, 3), dtype=np.int64)
    for frame in range(frames):
        rows = (np.arange(size[0]) - (frame * camera[0] // _SUB)) % canvas.shape[0]
        columns = (np.arange(size[1]) - (frame * camera[1] // _SUB)) % canvas.shape[1]
        picture = canvas[np.ix_(rows, columns)]
        for thing in things:
            _paint(thing, frame, picture, labels[frame])
        if frame == 0 or speed != "static":
            first, second = dice.bytes(2 * noise.size).reshape(2, *noise.shape)
            noise = (first + second - 255) >> 4
        pictures[frame] = np.clip(picture + noise, 0, 255)
    return Shot(pictures, labels, name or f"{speed}{' pan' if pan else ''} {seed}")


KINDS: tuple[tuple[str, Speed, bool, int], ...] = (
    ("slow", "slow", False, 4),
    ("slow pan", "slow", True, 4),
    ("fast", "fast", False, 4),
    ("fast pan", "fast", True, 4),
    ("crowd", "fast", False, 6),
    ("static", "static", False, 4),
)
"""The kinds of shot of a video, in order: name, speed, camera pan, number of objects."""

ALL_KINDS = tuple(kind[0] for kind in KINDS)


def shapes_video(
    split: Split = "val",
    rounds: int = 1,
    frames: int = 30,
    size: tuple[int, int] = FRAME_SIZE,
    kinds: tuple[str, ...] = ALL_KINDS,
    first: int = 0,
) -> list[Shot]:
    """Shots of several kinds.

    The splits draw from disjoint seeds: shot i of a split has the i-th seed of its range.

    Args:
        split: "train" or "val".
        rounds: How many shots there are of each kind.
        frames: Frames per shot.
        size: Height and width.
        kinds: The names of the kinds.
        first: The first shot's place in the split.

    Returns:
        The shots, round by round.

    Raises:
        ValueError: An unknown split or kind of shot.
    """
    if split not in ("train", "val"):
        raise ValueError(f"split is {split!r}, train or val is expected")
    unknown = sorted(set(kinds) - {kind[0] for kind in KINDS})
    if unknown:
        raise ValueError(f"unknown kinds of shot {unknown}, of {[kind[0] for kind in KINDS]}")
    seeds = TRAIN_SEEDS if split == "train" else VAL_SEEDS
    wanted = [kind for kind in KINDS if kind[0] in kinds]
    shots = []
    for index in range(first, first + rounds * len(wanted)):
        title, speed, pan, objects = wanted[index % len(wanted)]
        shots.append(shapes_shot(seeds[index], frames, size, speed, pan, objects, f"{title} {seeds[index]}"))
    return shots
