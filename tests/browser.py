"""Chromium without a window: what it makes of a page, and what a page's own script finds out."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000"]


def required() -> None:
    """Skip the module of tests where there is none."""
    if BROWSER is None:
        pytest.skip("no Chromium here", allow_module_level=True)


def opened(path: Path, *options: str) -> str:
    """What a browser makes of a page."""
    return _run(path, *options).stdout


def complaints(path: Path) -> list[str]:
    """What a page, or the browser for it, has written to the console."""
    lines = _run(path, "--enable-logging=stderr").stderr.splitlines()
    return [line for line in lines if "CONSOLE" in line]


def _run(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(BROWSER), *OPTIONS, *options, "--dump-dom", path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


def found(folder: Path, script: str, page: str = "") -> Any:
    """What a script finds: it calls `found(value)`, and may look into a page at `frames[0]`."""
    frame = f'<iframe width="900" height="900" srcdoc="{html.escape(page)}"></iframe>' * bool(page)
    path = folder / "looks.html"
    path.write_text(
        f"<meta charset=utf-8>{frame}<pre id=found></pre><script>"
        "const found = (value) => "
        "(document.getElementById('found').textContent = JSON.stringify(value));\n"
        f"addEventListener('load', () => {{ {script} }});</script>"
    )
    (text,) = re.findall(r'<pre id="found">(.*?)</pre>', opened(path), re.S)
    assert text, complaints(path)
    return json.loads(html.unescape(text))
