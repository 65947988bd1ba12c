"""Net definitions with variables: `${NAME}`, `$#NAME#$`, `$NAME$`, `$NAME`, `{name}` and plain words.

| spelling | whose | where it counts |
|---|---|---|
| `${NAME}` | DeepLab (sed), string.Template | anywhere |
| `$#NAME#$` | Collective Knowledge | anywhere |
| `$NAME$`, `$NAME` | FlowNet 2, autocolorize | outside quotes: a name may hold a dollar sign |
| `cls6x`, `224X224_1` | MobileNet-SSD, Xilinx ml-suite (replaced as text) | a whole value, if it is given |
| `{name}` | AOD-Net (str.format) | as a value, `field: {name}`, which no net definition can mean otherwise |

Jinja (`{{ name }}`, `{% for ... %}`) is a language, which is not run here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from weights.errors import PrototxtError

__all__ = ["fill_template", "template_variables", "word_hint"]

# Blanks of this line only: a pattern that spans lines would look at every run of empty lines over and over.
_COMMENT = re.compile(r"(?m)^[ \t\r\f\v]*#[^\n]*$")
_JINJA = re.compile(r"\{%.*?%\}|\{\{\s*\w[^{}]*\}\}|\{#.*?#\}")
_VARIABLE = re.compile(
    r"\$\{(?P<braces>\w+)\}"
    r"|\$\#(?P<hashes>\w+)\#\$"
    r"|(?P<quoted>\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|\#[^\n]*)"
    r"|\$(?P<bare>[A-Za-z_]\w*)\$?"
    r"|(?P<colon>:[ \t]*)(?:\{[ \t]*(?P<format>[A-Za-z_]\w*)[ \t]*\}|(?P<word>\w++)(?![.+\-]))"
)
_IN_QUOTES = re.compile(r"\$\{(?P<braces>\w+)\}|\$\#(?P<hashes>\w+)\#\$")


def _found(text: str, words: Collection[str] = ()) -> list[tuple[int, int, str, str]]:
    """Every variable: where it starts and ends, its name, and what stands before its value.

    `words` are plain words that are variables too.
    """
    found = []
    for match in _VARIABLE.finditer(text):
        if match["quoted"] is not None:
            for inner in () if match["quoted"].startswith("#") else _IN_QUOTES.finditer(match["quoted"]):
                start = match.start()
                found.append(
                    (start + inner.start(), start + inner.end(), inner["braces"] or inner["hashes"], "")
                )
            continue
        if match["word"] is not None and match["word"] not in words:
            continue
        name = match["braces"] or match["hashes"] or match["bare"] or match["format"] or match["word"]
        found.append((match.start(), match.end(), name, match["colon"] or ""))
    return found


def word_hint(text: str) -> str | None:
    """What to do about a plain word where a number is expected, None for anything else."""
    if re.fullmatch(r"\w*[A-Za-z_]\w*", text) is None:
        return None
    return f"if the word stands for a number, give it: --define {text}=VALUE"


def template_variables(text: str) -> tuple[str, ...]:
    """The names of the variables of a prototxt text, each once, in order."""
    return tuple(dict.fromkeys(name for _, _, name, _ in _found(_COMMENT.sub("", text))))


def fill_template(text: str, define: Mapping[str, str], file: str) -> str:
    """Put values in the place of a text's variables.

    Args:
        text: The prototxt text.
        define: Values by name; those that the text has no variable for are ignored.
        file: For messages.

    Returns:
        The text with every variable filled, and then without comment lines; as it stands where it has none.

    Raises:
        PrototxtError: Variables without a value, all of which are listed, or a template in a language.
    """
    given, text = text, _COMMENT.sub("", text)
    jinja = _JINJA.search(text)
    if jinja is not None:
        raise PrototxtError(
            f"line {text.count(chr(10), 0, jinja.start()) + 1}: a Jinja template, not a net definition",
            file=file,
            found=jinja.group()[:60],
            expected="the file that Jinja makes of it",
        )
    found = _found(text, define)
    if not found:
        return given
    missing = list(dict.fromkeys(name for _, _, name, _ in found if name not in define))
    if missing:
        start, end = next((s, e) for s, e, name, _ in found if name not in define)
        rest = f"; the file has {len(missing)}: {', '.join(missing)}" if len(missing) > 1 else ""
        raise PrototxtError(
            f"line {text.count(chr(10), 0, start) + 1}: template variable without a value{rest}",
            file=file,
            found=text[start:end].lstrip(": \t"),
            hint="give it: " + " ".join(f"--define {name}=VALUE" for name in missing),
        )
    parts, at = [], 0
    for start, end, name, before in found:
        parts += [text[at:start], before, str(define[name])]
        at = end
    return "".join([*parts, text[at:]])
