"""Draws the status page in every situation for you to look at: light and dark, wide, narrow and on paper.

usage: draw_status_pages.py FOLDER [SITUATION…]
"""

import sys
import tempfile
from pathlib import Path

from browser import Browser, sheets
from status_situations import SITUATIONS

LOOKS = [(1440, "light"), (1440, "dark"), (1024, "light"), (1024, "dark"), (390, "light"), (390, "dark")]
# Taller pictures are cut off.
MAX_HEIGHT = 4_000


def main(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary,
            SITUATIONS[name].start(Path(temporary)) as exporter,
            Browser(f"{temporary}/browser") as browser,
        ):
            for page, url in pages(browser, f"{exporter.url}/").items():
                draw(browser, folder, f"{name}{page}", url)


def pages(browser, url):
    """The first page, and from there that of the first key, and every key of the first account."""
    browser.get(url)
    urls = {"": url}
    if keys := browser.all("#keys tbody th a"):
        urls["-key"] = keys[0].get_attribute("href")
    if ids := browser.all("#accounts tbody th > :last-child"):
        urls["-account"] = f"{url}?account={ids[0].get_attribute('textContent')}&show=every"
    return urls


def draw(browser, folder, name, url):
    for width, scheme in LOOKS:
        browser.look(width, scheme)
        browser.get(url)
        height = browser.devtools("Page.getLayoutMetrics")["cssContentSize"]["height"]
        browser.look(width, scheme, min(height, MAX_HEIGHT))
        (folder / f"{name}-{width}-{scheme}.png").write_bytes(browser.screenshot())
    # Paper is always light.
    browser.look(1440, "dark")
    browser.get(url)
    pdf = browser.pdf()
    (folder / f"{name}.pdf").write_bytes(pdf)
    print(f"{name}: {sheets(pdf)} on paper")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or SITUATIONS)
