"""A hook of mkdocs: links that lead out of docs/ become plain text on the site.

The pages are read in the repository as well, where a link to a source file or a folder is worth having; the
site has no such files.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

__all__ = ["on_page_markdown"]

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")
_ON_SITE = (".md", ".png", ".json", ".csv")
_AT_ROOT = {
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "CHANGELOG.md": "project/changelog.md",
}
"""Pages that the site has under another name than the repository."""


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Rewrite the links of one page; `page` is what mkdocs hands to a hook."""
    here = posixpath.dirname(page.file.src_uri)
    included = page.file.src_uri.startswith("project/")  # its text lies at the repository's root
    base = "" if included else posixpath.join("docs", here)

    def rewrite(match: re.Match[str]) -> str:
        text, path, anchor = match[1], match[2], match[3] or ""
        target = posixpath.normpath(posixpath.join(base, path))
        if target in _AT_ROOT:
            on_site = _AT_ROOT[target]
        elif target.startswith("docs/") and target.endswith(_ON_SITE):
            on_site = target.removeprefix("docs/")
        else:
            return text
        return f"[{text}]({posixpath.relpath(on_site, here or '.')}{anchor})"

    return _LINK.sub(rewrite, _included(markdown))


def _included(markdown: str) -> str:
    """The text with whole files that it includes in place, so that their links are rewritten, too."""
    return re.sub(
        r'^--8<-- "([A-Z]+\.md)"$', lambda match: Path(match[1]).read_text("utf-8"), markdown, flags=re.M
    )
