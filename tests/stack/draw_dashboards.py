"""Draws the dashboards in every situation for you to look at, and renews their pictures in docs/images.

usage: draw_dashboards.py FOLDER [ORGANIZATION…], where `unknown` stands for what can be unknown of one
"""

import sys
import tempfile
from itertools import product
from pathlib import Path

from changed_page import SITUATIONS, ChangedPage
from drawing import Drawing, build
from harness import ROOT, Exporter, Prometheus
from situations import ORGANIZATIONS, situation, stop

IMAGES = ROOT / "docs/images"
BOARDS = ["fleet", "account", "cis"]
WIDTHS = [1440, 1920]
THEMES = ["dark", "light"]
# The size of the pictures in docs/images: the first screen of a usual window, without Grafana's navigation.
IMAGE = (1440, 900)


def main(folder, organizations):
    folder.mkdir(parents=True, exist_ok=True)
    build()
    for organization in organizations:
        if organization == "unknown":
            draw_situations(folder)
            continue
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
            with (
                situation(Path(temporary), organization) as (exporter, prometheus),
                Drawing(f"{temporary}/browser", prometheus) as drawing,
            ):
                draw(drawing, folder, organization)
                if organization == "demo":
                    stop(exporter, prometheus)
                    draw(drawing, folder, "exporter-stopped")


def draw(drawing, folder, name):
    for board in BOARDS:
        for width in WIDTHS:
            for theme in THEMES:
                drawing.draw(board, width, theme)
                (folder / f"{name}-{board}-{width}-{theme}.png").write_bytes(drawing.screenshot())
                if name == "demo" and width == IMAGE[0]:
                    drawing.look(*IMAGE)
                    drawing.settle()
                    file = IMAGES / f"dashboard-{board}-{theme}.png"
                    file.write_bytes(drawing.screenshot(without_navigation=True))
                for failure in drawing.failures():
                    print(f"{name} {board}: {failure}", file=sys.stderr)


def draw_situations(folder):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        path = Path(temporary)
        with Exporter(path, "demo") as exporter:
            exporter.wait_until_ready()
            with (
                ChangedPage(exporter) as page,
                Prometheus(path, {"changed": page.address}) as prometheus,
                Drawing(f"{temporary}/browser", prometheus) as drawing,
            ):
                for situation in SITUATIONS:
                    page.begin(situation, prometheus)
                    for board, theme in product(BOARDS, THEMES):
                        account = {"var-account": page.accounts[0]} if board == "account" else {}
                        drawing.draw(board, WIDTHS[0], theme, **account)
                        file = folder / f"unknown-{situation}-{board}-{theme}.png"
                        file.write_bytes(drawing.screenshot())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or [*ORGANIZATIONS, "unknown"])
