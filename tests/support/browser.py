"""Pages in a real browser: Chromium without a window, where there is one."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["overflow_at"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_PROBE = """<!doctype html><title>probe</title><body style="margin: 0">
<iframe src="{page}" style="width: {width}px; height: 900px; border: 0"></iframe>
<script>addEventListener("load", () => {{
  const shown = document.querySelector("iframe").contentDocument;
  const wide = [...shown.querySelectorAll("body *")].filter(
    one => !one.closest(".scroll") && one.getBoundingClientRect().right > {width} + 1);
  document.title = "width " + shown.documentElement.scrollWidth + " beyond "
    + wide.map(one => one.tagName + "." + one.className).join(" ");
}});</script>"""


def overflow_at(page: Path, width: int) -> tuple[int, str]:
    """Lay out a page in a window.

    Args:
        page: The HTML file.
        width: Of the window, in pixels.

    Returns:
        The width of what there is to see, and the elements that lie beyond the window and do not scroll in a
        box. Skips the test where there is no Chromium.
    """
    browser = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip("there is no Chromium on this machine to lay out the page with")
    probe = page.with_name(f"probe-{width}.html")
    probe.write_text(_PROBE.format(page=page.name, width=width), encoding="utf-8")
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        "--allow-file-access-from-files",
        f"--user-data-dir={page.parent / 'profile'}", "--window-size=1600,1000", "--virtual-time-budget=5000",
        "--dump-dom", probe.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r"<title>width ([0-9]+) beyond (.*?)</title>", done.stdout)
    if found is None:
        pytest.skip(f"Chromium does not run on this machine: {done.stderr.strip()[-200:]}")
    return int(found[1]), found[2]
