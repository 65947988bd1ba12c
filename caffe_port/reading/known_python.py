"""Python layers whose code is known, as layers of their own: never run, only recognised by class and module.

py-faster-rcnn's rpn.proposal_layer.ProposalLayer becomes a layer of type ProposalLayer whose proposal_param
has what its param_str says ('feat_stride', 'scales', 'ratios'; nothing else) and the rest of its
configuration for tests (lib/fast_rcnn/config.py).
"""

from __future__ import annotations

import re

from caffe_port.reading.text_format import Block, Entry, Scalar, parse_text, real_number

__all__ = ["as_own_layer"]

_SETTING = re.compile(
    r"\s*['\"]?(?P<key>\w+)['\"]?\s*:\s*"
    r"(?:[\[(]+(?P<many>[^\])]*)[\])]+|(?P<one>[-+.\deE]+))[ \t]*(?:[,\n]|$)"
)
_DEFAULTS = {"scales": "8, 16, 32", "ratios": "0.5, 1, 2"}
_REST = "base_size: 16 min_size: 16 pre_nms_topn: 6000 post_nms_topn: 300 nms_thresh: 0.7"


def _settings(text: str) -> dict[str, str] | None:
    """The settings of a param_str (YAML or a Python dictionary); None where it holds anything else."""
    text = text.strip().strip("{}").strip().rstrip(",")
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _SETTING.match(text, at)
        if match is None or match.end() == at:
            return None
        found[match["key"]] = match["many"] if match["many"] is not None else match["one"]
        at = match.end()
    return found


def _numbers(text: str) -> list[str] | None:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return parts if parts and all(real_number(part) is not None for part in parts) else None


def as_own_layer(layer: Block) -> Block:
    """The layer as one of a type of its own where its code is known, else as it is."""
    params = layer.blocks("python_param") if layer.text("type") == "Python" else []
    if (
        not params
        or params[-1].text("layer") != "ProposalLayer"
        or "proposal" not in params[-1].text("module")
    ):
        return layer
    settings = _settings(params[-1].text("param_str"))
    if settings is None or "feat_stride" not in settings or settings.keys() - {"feat_stride", *_DEFAULTS}:
        return layer
    scales, ratios = (_numbers(settings.get(key, _DEFAULTS[key])) for key in ("scales", "ratios"))
    if not scales or not ratios or not settings["feat_stride"].isdigit():
        return layer
    words = [f"feat_stride: {settings['feat_stride']}", _REST]
    words += [*(f"scale: {s}" for s in scales), *(f"ratio: {r}" for r in ratios)]
    param = parse_text(" ".join(words), "")
    line = layer.line
    entries = [e for e in layer.entries if e.name not in ("type", "python_param")]
    entries.append(Entry("type", Scalar("ProposalLayer", True, line)))
    entries.append(Entry("proposal_param", Block(line, param.entries)))
    return Block(line, entries)
