"""Pages opened in a browser: no script of theirs runs, whatever somebody has put into a file.

That holds twice over: what comes from outside is text, and were it not, the page's policy stops it.
Each is tried without the other, and both are left out, which shows that the scripts would run.
"""

import html
import re

import browser
import malformed
import pages
import pytest
import tiny

from npkd.distill.report import page as page_of_run
from npkd.printing import pages as markup
from npkd.printing import pictures
from npkd.validate.judging import page as page_of_verdicts

browser.required()
SCRIPTS = [text for text in pages.HOSTILE if pages.SCRIPT in text]
LOOK = """
addEventListener("load", () => {
  for (const name of ["report", "verdicts"]) {
    const inside = frames[name].document;
    const width = getComputedStyle(inside.body).maxWidth;
    document.title += ` ${name}:${width}:${inside.images[0].naturalWidth}`;
  }
});
"""


@pytest.fixture
def made(monkeypatch):
    """Both pages as text, hostile texts in every field, with or without what guards against them.

    Numbers may be texts too, as they would be if report.json were not checked.
    """
    monkeypatch.setattr(pictures, "png", lambda draw, **size: malformed.png(1, 1))
    finished = tiny.finished()[1]

    def made(*, escaped: bool, policy: bool) -> dict[str, str]:
        with monkeypatch.context() as patch:
            if not escaped:
                patch.setattr(markup, "escape", str)
            report = pages.with_texts(finished.report, 3 * SCRIPTS)
            report |= {"seed": SCRIPTS[0], "threads": SCRIPTS[1]}
            verdicts = pages.verdicts_with("".join(SCRIPTS))
            pictures = list(page_of_verdicts._pictures(verdicts))
            found = {
                "report": page_of_run.page(report, finished.samples, {}),
                "verdicts": page_of_verdicts.page(verdicts, pictures),
            }
        if not policy:
            found = {
                name: re.sub("<meta http-equiv[^>]*>", "", text) for name, text in found.items()
            }
        return found

    return made


@pytest.mark.parametrize("name", ["report", "verdicts"])
def test_a_browser_sees_npkds_own_tags_alone(name, made, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(made(escaped=True, policy=True)[name])
    seen, written = pages.Page(browser.opened(path)), pages.Page(path.read_text())
    assert seen.text.split() == written.text.split()
    assert seen.images == written.images > 0
    assert pages.SCRIPT in seen.text


def test_scripts_would_run_but_for_escaping_and_policy_either_of_which_is_enough(made, tmp_path):
    """All pages inside of one, whose title says in which of them a script ran."""
    frames = {
        **made(escaped=True, policy=True),
        **{f"{name}-escaped": text for name, text in made(escaped=True, policy=False).items()},
        **{f"{name}-policy": text for name, text in made(escaped=False, policy=True).items()},
        **{f"{name}-bare": text for name, text in made(escaped=False, policy=False).items()},
    }
    inside = [
        f'<iframe name="{name}" srcdoc="{html.escape(text)}"></iframe>'
        for name, text in frames.items()
    ]
    path = tmp_path / "all.html"
    path.write_text(f"<title></title>{''.join(inside)}<script>{LOOK}</script>")
    title = re.search("<title>(.*?)</title>", browser.opened(path))[1]
    ran = {word.removeprefix("ran:") for word in title.split() if word.startswith("ran:")}
    assert ran == {"report-bare", "verdicts-bare"}
    assert {"report:960px:1", "verdicts:960px:1"} < set(title.split())  # styled, and with pictures
