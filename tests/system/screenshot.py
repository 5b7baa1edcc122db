"""A run in TensorBoard, in a real browser. `python -m tests.system.screenshot RUN PNG` makes the README's picture."""

import json
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
PINNED = ("eval/top1", "eval/top5", "train/loss", "throughput/images_per_s", "time/data_wait", "train/lr")


@contextmanager
def board(folder: Path) -> Iterator[str]:
    """TensorBoard over a folder of runs, on loopback; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--host", "127.0.0.1"]
    with subprocess.Popen(
        [*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            _wait_for(f"http://127.0.0.1:{port}", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


@contextmanager
def browser() -> Iterator[Page]:
    """An empty page in headless Chromium."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield chromium.new_page(viewport={"width": 1500, "height": 1050})
        chromium.close()


def open_pinned(page: Page, address: str) -> dict[str, float]:
    """Show the pinned charts; gives the value that each shows for its last step."""
    cards = json.dumps([{"plugin": "scalars", "tag": tag} for tag in PINNED])
    page.goto(f"{address}/?smoothing=0&pinnedCards={urllib.parse.quote(cards)}#timeseries")
    pinned = page.locator("metrics-pinned-view scalar-card")
    pinned.nth(len(PINNED) - 1).locator("tb-data-table-content-row").first.wait_for()
    rows = [card.locator("tb-data-table-content-cell").all_inner_texts() for card in pinned.all()]
    # a row ends with: value, step, relative time
    return {tag: float(cells[-3].replace(",", "")) for tag, cells in zip(PINNED, rows, strict=True)}


def shown_pictures(page: Page, address: str) -> set[bytes]:
    """The files of all pictures that the Images tab shows, each of its newest step."""
    _open_tab(page, address, "images")
    pictures = page.locator("tf-image-loader img")
    pictures.first.wait_for()
    page.wait_for_function("[...document.images].every(picture => picture.complete)")
    sources = [picture.evaluate("picture => picture.src") for picture in pictures.all()]
    return {page.request.get(source).body() for source in sources}


def shown_settings(page: Page, address: str) -> dict[str, dict[str, str]]:
    """The HParams tab's table: what it shows of each run, by the columns' names."""
    _open_tab(page, address, "hparams")
    cells = page.locator("vaadin-grid-cell-content")
    cells.nth(40).wait_for(state="attached")  # rows come after the head
    page.wait_for_timeout(2000)
    words = [text.strip() for text in cells.all_inner_texts()]
    head = [word for word in words[: words.index("")] if word != "Show Metrics"]
    values = [word for word in words[words.index("") :] if word]
    rows = [values[start : start + len(head)] for start in range(0, len(values), len(head))]
    return {row[0]: dict(zip(head, row, strict=True)) for row in rows}


def shown_groups(page: Page, address: str, tab: str) -> list[str]:
    """Names of the groups of charts, or of texts, from the top; TensorBoard counts the charts behind them."""
    _open_tab(page, address, tab)
    titles = page.locator(".group-title-wrapper" if tab == "timeseries" else ".category-name")
    titles.nth(2).wait_for()
    return titles.all_inner_texts()


def shown_charts(page: Page, address: str) -> tuple[list[str], list[str]]:
    """The Custom Scalars tab: names of its categories and titles of its charts, from the top."""
    _open_tab(page, address, "custom_scalars")
    titles = page.locator(".heading-label.name")
    titles.first.wait_for()
    page.wait_for_timeout(1000)
    return page.locator(".category-name").all_text_contents(), titles.all_text_contents()


def _open_tab(page: Page, address: str, name: str) -> None:
    page.goto("about:blank")  # or a tab would be told by the address alone, and the page stay as it is
    page.goto(f"{address}/#{name}")


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            assert server.poll() is None, "tensorboard ended"
            assert time.monotonic() < deadline, "tensorboard does not answer"
            time.sleep(0.2)


def main(run: Path, picture: Path) -> None:
    """Take the picture, without TensorBoard's settings pane."""
    with board(run.parent) as address, browser() as page:
        open_pinned(page, address)
        page.get_by_label("Toggle settings side pane").click()
        page.wait_for_timeout(1000)
        page.screenshot(path=picture)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
