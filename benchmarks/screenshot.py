"""A picture of a page, by the browser of Qt: Chromium, from a wheel.

    make pictures    # sets up what this needs
    .venv-pictures/bin/python benchmarks/screenshot.py report.html report.png --size=1000x800

Pages that draw themselves, as TensorBoard's, get `--seconds` for it.
"""

import argparse
import os
import pathlib
import sys

# Neither screen nor graphics card. Pages are our own: in containers there is no sandbox.
os.environ["QT_QPA_PLATFORM"] = "offscreen"
os.environ["QTWEBENGINE_CHROMIUM_FLAGS"] = "--disable-gpu"
os.environ["QTWEBENGINE_DISABLE_SANDBOX"] = "1"

from PyQt6.QtCore import QTimer, QUrl
from PyQt6.QtWebEngineWidgets import QWebEngineView
from PyQt6.QtWidgets import QApplication


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("page", help="a file, or an address")
    parser.add_argument("picture")
    parser.add_argument("--size", default="1000x800", help="of the window: WIDTHxHEIGHT, in pixels")
    parser.add_argument("--seconds", type=float, default=3, help="from its arrival to the picture")
    settings = parser.parse_args()
    application = QApplication(sys.argv[:1])
    view = QWebEngineView()
    view.resize(*map(int, settings.size.split("x")))
    view.page().settings().setAttribute(view.page().settings().WebAttribute.ShowScrollBars, False)

    def take() -> None:
        view.grab().save(settings.picture)
        application.quit()

    view.loadFinished.connect(lambda _: QTimer.singleShot(round(1000 * settings.seconds), take))
    is_address = "://" in settings.page
    file = pathlib.Path(settings.page).resolve().as_uri()
    view.load(QUrl(settings.page if is_address else file))
    view.show()
    application.exec()


if __name__ == "__main__":
    main()
