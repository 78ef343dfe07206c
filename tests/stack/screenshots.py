"""Renews docs/images: the status page of the demo organization, light and dark."""

import tempfile
from pathlib import Path

from browser import Browser
from harness import ROOT, Exporter

FOLDER = ROOT / "docs/images"


def main():
    FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        Exporter(Path(folder), "demo") as exporter,
        Browser(f"{folder}/browser") as browser,
    ):
        exporter.wait_until_ready()
        for scheme in ["light", "dark"]:
            browser.look(1280, scheme)
            browser.get(f"{exporter.url}/")
            (FOLDER / f"status-{scheme}.png").write_bytes(browser.screenshot())


if __name__ == "__main__":
    main()
