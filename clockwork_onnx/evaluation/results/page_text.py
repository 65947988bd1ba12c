"""The words and the style of the page that `clockwork_onnx.evaluation.results.page` makes."""

from __future__ import annotations

__all__ = ["INTRODUCTION", "READING", "STYLE"]

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2129; max-width: 1240px; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.4rem; border-top: 1px solid #d8dde3;
     padding-top: 1rem; } h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p, ul, dl { max-width: 52rem; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } tbody tr:nth-child(odd) { background: #f4f6f8; }
thead th { border-bottom: 2px solid #1d2129; } .wide { overflow-x: auto; }
img { max-width: 100%; height: auto; } figure { margin: 0; }
.frame { display: grid; gap: .5rem .6rem; grid-template-columns: repeat(5, 1fr); align-items: start; }
.given { grid-column: 1 / 4; display: grid; gap: .6rem; grid-template-columns: repeat(3, 1fr);
         position: sticky; top: .5rem; }
.frame img { width: 100%; image-rendering: pixelated; display: block; }
.pair { display: contents; }
figcaption { font-size: 12px; color: #4a5361; line-height: 1.35; margin-top: .15rem; }
.legend span { white-space: nowrap; margin-right: 1em; }
.swatch { display: inline-block; width: .9em; height: .9em; margin-right: .3em; vertical-align: -.1em;
          border: 1px solid #aab2bb; }
dt { font-weight: 600; } dd { margin: 0 0 .4rem 1.2rem; } footer { margin-top: 3rem; color: #4a5361; }
@media (max-width: 800px) { .frame { grid-template-columns: 1fr 1fr; }
  .given { grid-column: 1 / 3; position: static; } }
"""

INTRODUCTION = """
<h2>What this is about</h2>
<p>A network that labels every pixel of a picture (road, car, sky, ...) is run over a video. Neighbouring
frames are much alike, so most of its work is done over and over. Here the network is cut into
<b>stages</b>, shallow to deep. The shallow stages follow edges and motion; what the deep ones find, which
things there are, changes slowly. A <b>schedule</b> says which stage runs (<b>fires</b>) on which frame; a
stage that does not fire lends its last result, and a small <b>head</b> puts the labels together. This page
compares schedules: how good are the labels, and how much work do they take?</p>
<h3>Schedules</h3>
<dl>
<dt>oracle</dt><dd>Everything fires on every frame: the accuracy to compare with, and the cost 1.</dd>
<dt>skip:N</dt><dd>Everything on every N-th frame; the frames between repeat the last labels.</dd>
<dt>rates:A,B,.. alternating, exponential</dt><dd>Each stage at a rate of its own (clockwork): the shallow
ones on every frame, the deep ones on every second, fourth, ... frame. <i>alternating</i>: the deepest on
every second; <i>exponential</i>: every 1, 2, 4, ... frames.</dd>
<dt>pipeline:N</dt><dd>All stages on every frame, but the deep ones work on what the shallow ones left one
or two frames ago, so that they can run side by side.</dd>
<dt>adaptive:T</dt><dd>The deepest stage fires when at least the share T of the labels that a shallower
stage would give has changed since it last fired.</dd>
<dt>truncated:N</dt><dd>The network cut off after N stages, on every frame.</dd>
<dt>warp, correct</dt><dd>Old results are moved along the motion in the picture (optical flow).</dd>
</dl>
<h3>Measures</h3>
<dl>
<dt>mean IU</dt><dd>Of the pixels that are a class or are called it, the share that are both (intersection
over union); the mean over classes. 1 is perfect. <b>fwIU</b> weights classes by their size, <b>pixel
acc.</b> is the share of pixels with the right label.</dd>
<dt>changes</dt><dd>Share of pixels whose label changes from one frame to the next: how much the output
flickers.</dd>
<dt>fires</dt><dd>On how many frames each stage fired, shallow to deep.</dd>
<dt>MACs/oracle</dt><dd>Multiply-accumulates that were carried out, as a share of the oracle's; cost/oracle
adds the time of what has none, such as optical flow. <b>time/oracle</b> is measured.</dd>
<dt>mean ages</dt><dd>Frames since each stage's result was computed, shallow to deep, on average.</dd>
<dt>Pareto front</dt><dd>The schedules that no other beats at the same or a lower cost: the ones to choose
from.</dd>
</dl>
"""

READING = {
    "Accuracy against counted cost": (
        "Higher is better, further left is cheaper. A line joins the schedules of one family, each named by "
        "its setting; small points are beaten by others of their family, grey discs mark the Pareto front. "
        "The shaded area between two lines says which family gives more for the same work."
    ),
    "Accuracy against measured time": (
        "The same by time on the machine that made this page. Other work on the machine, and stages that "
        "wait for each other, show here."
    ),
    "The adaptive clock's threshold": (
        "A high threshold fires the deepest stage seldom, which is cheap and leaves old labels. A good "
        "threshold lies where the right curve begins to fall."
    ),
}
"""How to read a plot, by its caption."""
