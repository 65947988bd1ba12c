"""Train shapes-fcn8s on the shapes video and write ``shapes-fcn8s.caffemodel`` beside its prototxt.

    pip install -e '.[train]' && python -m tools.train_demo_net

The net is the one of ``deploy.prototxt``, built again in PyTorch by Caffe's rules: pooling rounds up, Crop
takes the offsets of the prototxt, the three Deconvolutions are bilinear and fixed. Some things are there for
training only:

* every 3 x 3 convolution, fc6 and fc7 carry a batch normalisation, folded into their weights on the way out;
* the net learns on pairs of frames of one shot, one to three frames apart. Besides every frame as it is (the
  ``own`` loss) it sees the mixture that a clock makes of a pair (the ``clocked`` loss): the deep scores of
  one frame, on every third step those of pool4 too, under the shallow scores of the other. So the shallow
  stages learn to place what the deep one named a moment ago;
* the deep scores have a loss of their own (``alone``), as in the FCN-32s that the original was trained from:
  without it so small a net leaves the naming to pool4 as well, and there is nothing for a clock to save.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

import caffe_port
import weights
from clockwork_onnx.evaluation.datasets.shapes_video import CLASS_NAMES, Shot, shapes_video
from clockwork_onnx.evaluation.demo.demo import NET
from clockwork_onnx.evaluation.scoring.metrics import Confusion

FOLDER = NET
CLASSES = len(CLASS_NAMES)
WIDTHS = (6, 12, 24, 48, 64)
CONVS = (2, 2, 3, 3, 3)
FC = 64
PAD, FC6_KERNEL = 24, 4
CROP_POOL4, CROP_POOL3, CROP_DATA = 2, 3, 3
MEAN_BGR = (110.0, 120.0, 120.0)
INPUT_SCALE = 1 / 64  # folded into conv1_1: the shipped net's scale is 1

MOVING_KINDS = ("slow", "slow pan", "fast", "fast pan", "crowd")
SHOT_FRAMES = 5
AGES = (1, 1, 1, 2, 2, 3)  # frames apart, drawn with these odds

SCHEDULES = (
    "oracle",
    "skip:2",
    "rates:1,1,2",
    "rates:1,2,4",
    "pipeline:2",
    "pipeline:3",
    "adaptive:0.1",
    "adaptive:0.15",
    "adaptive:0.2",
    "adaptive:0.25",
)


class Unit(nn.Sequential):
    """Convolution, batch normalisation, ReLU: once folded, a Caffe Convolution and an in-place ReLU."""

    def __init__(self, wide_in: int, wide_out: int, kernel: int, pad: int) -> None:
        super().__init__(
            nn.Conv2d(wide_in, wide_out, kernel, padding=pad, bias=False),
            nn.BatchNorm2d(wide_out),
            nn.ReLU(inplace=True),
        )

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the one convolution that does the same at test time."""
        conv, norm = self[0], self[1]
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        return conv.weight * gain[:, None, None, None], norm.bias - norm.running_mean * gain


def bilinear(kernel: int) -> Tensor:
    """Caffe's bilinear filler for ``kernel``, one filter per class: K x 1 x kernel x kernel."""
    factor = (kernel + 1) // 2
    centre = (2 * factor - 1 - factor % 2) / (2 * factor)
    line = 1 - torch.abs(torch.arange(kernel, dtype=torch.float64) / factor - centre)
    return torch.outer(line, line).to(torch.float32).expand(CLASSES, 1, kernel, kernel).contiguous()


def crop(x: Tensor, offset: int, size: tuple[int, ...]) -> Tensor:
    """Caffe's Crop: ``size`` from ``offset`` on in both directions."""
    return x[:, :, offset : offset + size[0], offset : offset + size[1]]


class ShapesFcn8s(nn.Module):
    """The net of deploy.prototxt, in the stages of clockwork."""

    def __init__(self) -> None:
        super().__init__()
        self.units = nn.ModuleDict()
        wide = 3
        for group, (width, convs) in enumerate(zip(WIDTHS, CONVS, strict=True), start=1):
            for i in range(1, convs + 1):
                self.units[f"conv{group}_{i}"] = Unit(wide, width, 3, PAD if wide == 3 else 1)
                wide = width
        self.units["fc6"] = Unit(wide, FC, FC6_KERNEL, 0)
        self.units["fc7"] = Unit(FC, FC, 1, 0)
        self.scores = nn.ModuleDict(
            {
                "score_pool3": nn.Conv2d(WIDTHS[2], CLASSES, 1),
                "score_pool4": nn.Conv2d(WIDTHS[3], CLASSES, 1),
                "score_fr": nn.Conv2d(FC, CLASSES, 1),
            }
        )
        for kernel in (4, 16):
            self.register_buffer(f"bilinear{kernel}", bilinear(kernel), persistent=False)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def _groups(self, x: Tensor, *groups: int) -> Tensor:
        for group in groups:
            for i in range(1, CONVS[group - 1] + 1):
                x = self.units[f"conv{group}_{i}"](x)
            x = F.max_pool2d(x, 2, 2, ceil_mode=True)
        return x

    def stage1(self, data: Tensor) -> tuple[Tensor, Tensor]:
        """data -> pool3, score_pool3."""
        pool3 = self._groups(data, 1, 2, 3)
        return pool3, self.scores["score_pool3"](pool3)

    def stage2(self, pool3: Tensor) -> tuple[Tensor, Tensor]:
        """pool3 -> pool4, score_pool4."""
        pool4 = self._groups(pool3, 4)
        return pool4, self.scores["score_pool4"](pool4)

    def stage3(self, pool4: Tensor) -> Tensor:
        """pool4 -> upscore2."""
        fc7 = self.units["fc7"](self.units["fc6"](self._groups(pool4, 5)))
        return F.conv_transpose2d(self.scores["score_fr"](fc7), self.bilinear4, stride=2, groups=CLASSES)

    def head(
        self, upscore2: Tensor, score_pool4: Tensor, score_pool3: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """upscore2, score_pool4, score_pool3 -> score, of the frame's size."""
        fuse4 = upscore2 + crop(score_pool4, CROP_POOL4, tuple(upscore2.shape[2:]))
        up4 = F.conv_transpose2d(fuse4, self.bilinear4, stride=2, groups=CLASSES)
        fuse3 = up4 + crop(score_pool3, CROP_POOL3, tuple(up4.shape[2:]))
        return crop(F.conv_transpose2d(fuse3, self.bilinear16, stride=8, groups=CLASSES), CROP_DATA, size)


def preprocess(frames: NDArray[np.uint8]) -> Tensor:
    """N x H x W x 3 RGB bytes -> N x 3 x H x W, BGR, mean taken off, scaled for the net in training."""
    bgr = torch.from_numpy(np.ascontiguousarray(frames[..., ::-1])).permute(0, 3, 1, 2).to(torch.float32)
    data = (bgr - torch.tensor(MEAN_BGR)[None, :, None, None]) * INPUT_SCALE
    return data.contiguous(memory_format=torch.channels_last)


class Pairs:
    """Batches of pairs of frames of one shot, flipped and with permuted colours at random."""

    def __init__(self, rounds: int, seed: int) -> None:
        shots = shapes_video("train", rounds=rounds, frames=SHOT_FRAMES, kinds=MOVING_KINDS)
        self.frames = np.stack([shot.frames for shot in shots])
        self.labels = np.stack([shot.labels for shot in shots])
        self.rng = np.random.default_rng(seed)

    def batch(self, pairs: int) -> tuple[Tensor, Tensor]:
        """Data and labels of ``pairs`` frames that lend deep scores, then of those that borrow them."""
        pictures, labels = [], []
        for _ in range(pairs):
            shot = int(self.rng.integers(len(self.frames)))
            age = int(self.rng.choice(AGES))
            start = int(self.rng.integers(SHOT_FRAMES - age))
            both = [start, start + age] if self.rng.random() < 0.5 else [start + age, start]
            down, across = (slice(None, None, self.rng.choice([-1, 1])) for _ in range(2))
            pictures.append(self.frames[shot, both][:, down, across][..., self.rng.permutation(3)])
            labels.append(self.labels[shot, both][:, down, across])
        data = np.concatenate([np.stack([pair[i] for pair in pictures]) for i in (0, 1)])
        truth = np.concatenate([np.stack([pair[i] for pair in labels]) for i in (0, 1)])
        return preprocess(data), torch.from_numpy(truth.astype(np.int64))


def train(
    net: ShapesFcn8s,
    pairs: Pairs,
    steps: int,
    batch: int,
    rate: float,
    clocked_weight: float,
    alone_weight: float,
) -> None:
    """AdamW, one-cycle rate; loss = own + ``clocked_weight`` x clocked + ``alone_weight`` x alone."""
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-3)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
    net.train()
    begun, told = time.monotonic(), np.zeros(3)
    for step in range(1, steps + 1):
        data, truth = pairs.batch(batch)
        size = (data.shape[2], data.shape[3])
        pool3, score_pool3 = net.stage1(data)
        pool4, score_pool4 = net.stage2(pool3)
        upscore2 = net.stage3(pool4)
        own = F.cross_entropy(net.head(upscore2, score_pool4, score_pool3, size), truth)
        middle = score_pool4[:batch] if step % 3 == 0 else score_pool4[batch:]
        mixture = net.head(upscore2[:batch], middle, score_pool3[batch:], size)
        clocked = F.cross_entropy(mixture, truth[batch:])
        alone = F.cross_entropy(net.head(upscore2, 0 * score_pool4, 0 * score_pool3, size), truth)
        optimiser.zero_grad(set_to_none=True)
        (own + clocked_weight * clocked + alone_weight * alone).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        cycle.step()
        told += (own.item(), clocked.item(), alone.item())
        if step % 100 == 0:
            left = (time.monotonic() - begun) / step * (steps - step)
            losses = "own {:.4f}  clocked {:.4f}  alone {:.4f}".format(*told / 100)
            print(f"step {step} of {steps}  {losses}  {left:.0f} s left", flush=True)
            told[:] = 0
    net.eval()


def caffe_blobs(net: ShapesFcn8s) -> dict[str, tuple[NDArray[np.float32], ...]]:
    """The weights by Caffe layer name, with batch normalisation and input scale folded in (in float64)."""
    blobs: dict[str, tuple[NDArray[np.float32], ...]] = {}
    exact = ShapesFcn8s().double()
    exact.load_state_dict(net.state_dict())
    with torch.no_grad():
        for name, unit in exact.units.items():
            weight, bias = unit.folded()
            scale = INPUT_SCALE if name == "conv1_1" else 1.0
            blobs[name] = ((weight * scale).float().numpy(), bias.float().numpy())
        for name, conv in exact.scores.items():
            blobs[name] = (conv.weight.float().numpy(), conv.bias.float().numpy())
    for name, kernel in (("upscore2", 4), ("upscore_pool4", 4), ("upscore8", 16)):
        blobs[name] = (bilinear(kernel).numpy(),)
    return blobs


def stage_outputs(net: ShapesFcn8s, shot: Shot) -> list[tuple[Tensor, Tensor, Tensor]]:
    """upscore2, score_pool4 and score_pool3 of each frame of a shot, every stage on that frame."""
    outputs = []
    with torch.no_grad():
        for frame in shot.frames:
            pool3, score_pool3 = net.stage1(preprocess(frame[None]))
            pool4, score_pool4 = net.stage2(pool3)
            outputs.append((net.stage3(pool4), score_pool4, score_pool3))
    return outputs


def clocked_frames(schedule: str, score_pool4: list[Tensor]) -> Iterator[tuple[bool, tuple[int, int, int]]]:
    """For each frame: does stage 3 fire, and of which frames are upscore2, score_pool4 and score_pool3?

    A stage's output depends on one frame only, so a schedule is fully told by these three numbers.
    """
    fired_on = 0
    for t in range(len(score_pool4)):
        match schedule.split(":"):
            case ["oracle"]:
                yield True, (t, t, t)
            case ["skip", n]:
                full = t - t % int(n)
                yield t == full, (full, full, full)
            case ["rates", rates]:
                one, two, three = (t - t % int(rate) for rate in rates.split(","))
                yield t == three, (three, two, one)
            case ["pipeline", "2"]:
                yield True, (max(t - 1, 0), t, t)
            case ["pipeline", "3"]:
                yield True, (max(t - 2, 0), max(t - 1, 0), t)
            case ["adaptive", theta]:
                changed = score_pool4[t].argmax(1) != score_pool4[fired_on].argmax(1)
                fires = t == 0 or changed.float().mean().item() >= float(theta)
                fired_on = t if fires else fired_on
                yield fires, (fired_on, t, t)
            case _:
                raise ValueError(f"unknown schedule {schedule}")


def measure(net: ShapesFcn8s, shots: list[Shot]) -> dict[str, dict[str, tuple[float, float]]]:
    """Mean IU and share of frames that stage 3 fires on, by schedule and kind of shot (and all that move)."""
    matrices: dict[tuple[str, str], Confusion] = {}
    fires: dict[tuple[str, str], list[bool]] = {}
    for shot in shots:
        kind = shot.name.rsplit(" ", 1)[0]
        groups = (kind, "all moving") if kind in MOVING_KINDS else (kind,)
        outputs = stage_outputs(net, shot)
        size = (shot.labels.shape[1], shot.labels.shape[2])
        known: dict[tuple[int, int, int], NDArray[np.uint8]] = {}
        for schedule in SCHEDULES:
            for t, (fired, frames) in enumerate(clocked_frames(schedule, [output[1] for output in outputs])):
                if frames not in known:
                    deep, middle, shallow = frames
                    with torch.no_grad():
                        score = net.head(outputs[deep][0], outputs[middle][1], outputs[shallow][2], size)
                    known[frames] = score[0].argmax(0).numpy().astype(np.uint8)
                for group in groups:
                    matrix = matrices.setdefault((schedule, group), Confusion(CLASSES))
                    matrix.add(shot.labels[t], known[frames])
                    fires.setdefault((schedule, group), []).append(fired)
    table: dict[str, dict[str, tuple[float, float]]] = {}
    for (schedule, group), matrix in matrices.items():
        share = float(np.mean(fires[schedule, group]))
        table.setdefault(schedule, {})[group] = (matrix.scores().mean_iu, share)
    return table


def main() -> None:
    """Train, write the caffemodel, and print how every schedule fares on held-out shots."""
    parser = argparse.ArgumentParser(description="Train shapes-fcn8s and write its caffemodel.")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=6, help="pairs of frames per step")
    parser.add_argument("--rounds", type=int, default=300, help="training shots of every moving kind")
    parser.add_argument("--rate", type=float, default=4e-3, help="the highest learning rate")
    parser.add_argument("--clocked", type=float, default=0.3, help="weight of the loss on clocked pairs")
    parser.add_argument(
        "--alone", type=float, default=0.2, help="weight of the loss on the deep scores alone"
    )
    parser.add_argument(
        "--val-rounds", type=int, default=4, help="held-out shots of every kind to measure on"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", type=Path, help="a state dict to start from instead of random weights")
    parser.add_argument("--keep", type=Path, help="also write the state dict here, to resume from")
    parser.add_argument("--out", type=Path, default=FOLDER / "shapes-fcn8s.caffemodel")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    net = ShapesFcn8s().to(memory_format=torch.channels_last)
    if arguments.resume is not None:
        net.load_state_dict(torch.load(arguments.resume, weights_only=True))
    pairs = Pairs(arguments.rounds, arguments.seed)
    train(net, pairs, arguments.steps, arguments.batch, arguments.rate, arguments.clocked, arguments.alone)
    if arguments.keep is not None:
        torch.save(net.state_dict(), arguments.keep)
    weights.write(arguments.out, caffe_port.read_net(FOLDER / "deploy.prototxt"), caffe_blobs(net))
    for schedule, groups in measure(net, shapes_video("val", rounds=arguments.val_rounds)).items():
        cells = (f"{group} {iu:.3f} ({fired:.0%})" for group, (iu, fired) in groups.items())
        print(f"{schedule:14} {'  '.join(cells)}")


if __name__ == "__main__":
    main()
