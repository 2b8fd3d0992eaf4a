"""The page in a real browser: it writes, draws, and complains about nothing."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect, sync_playwright

from .conftest import Live, Serve, stream_mind, window_mind

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no chromium here: apt-get install chromium"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


class Nodes:
    """A graph of three nodes that rests."""

    ts_tension, tick, evolve_count, icarus_line = 0.25, 3, 1, "tick 3"

    def tension(self) -> "Nodes":
        return self

    def propagate(self, steps: int = 1) -> "Nodes":
        return self

    def feel(self, tension: float) -> "Nodes":
        return self

    def snapshot(self, limit: int = 200) -> list[dict[str, float | str]]:
        return [
            {"name": name, "activation": 0.5, "stability": 0.5, "tension": 0.1}
            for name in ("sun", "wax", "sea")
        ]


@needs_browser
@pytest.mark.parametrize("architecture", ["stream", "window"])
def test_a_person_sees_a_text_settle(browser: Any, serve: Serve, architecture: str) -> None:
    mind = stream_mind() if architecture == "stream" else window_mind()
    live = serve(mind, Nodes() if architecture == "stream" else None)
    page = browser.new_page(viewport={"width": 390, "height": 800})
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(live.url)
    expect(page.locator("#model")).to_contain_text("small")
    page.fill("#prompt", "Whales")
    page.fill("#tokens", "12")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#status")).to_contain_text("steps each", timeout=90_000)
    count = page.locator("#text .token").count()
    assert count >= 6
    assert page.locator("#text .token.prompt").count() == 6
    page.focus("#text")
    page.keyboard.press("Home")
    assert page.locator("[aria-selected=true]").inner_text() == "W"
    page.keyboard.press("ArrowRight")
    assert page.locator("[aria-selected=true]").inner_text() == "h"
    assert "surprise" in page.locator("#about").inner_text()
    steps = 4 if architecture == "stream" else 3
    for name in ("energy", "tension"):
        points = page.locator(f"#{name} polyline").get_attribute("points").split()
        assert len(points) == steps
        assert len({point.split(",")[1] for point in points}) > 1
    assert page.locator("#path polyline.curve").get_attribute("points").count(",") == steps + 1
    assert page.locator("#tops li").count() == 5
    page.locator("#step").fill("0")
    assert page.locator("#path polyline.curve").get_attribute("points").count(",") == 1
    heats = page.eval_on_selector_all(
        ".token", "all => all.map(one => one.style.getPropertyValue('--heat'))"
    )
    assert len(set(heats)) > 2
    # On a telephone nothing sticks out to the side.
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("#graphbox").is_visible() == (architecture == "stream")
    assert complaints == []
    page.close()


@needs_browser
def test_light_and_dark_differ_and_a_key_is_asked_for(browser: Any, serve: Serve) -> None:
    live = serve(stream_mind(), api_keys=("secret",))
    colours = set()
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.goto(live.url)
        page.wait_for_selector("#key", state="visible")
        colours.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.fill("#key", "secret")
        page.keyboard.press("Tab")
        expect(page.locator("#model")).to_contain_text("small")
        page.close()
    assert len(colours) == 2


@needs_browser
@pytest.mark.slow
def test_the_picture_in_the_docs(browser: Any, serve: Serve) -> None:
    """Draws docs/images/observatory.png anew from the run in BOGGERS_PICTURE_RUN."""
    run = os.environ.get("BOGGERS_PICTURE_RUN")
    if run is None:
        pytest.skip("BOGGERS_PICTURE_RUN names no run to show")
    from boggers.serve.mind import load_mind

    live: Live = serve(lambda: load_mind(Path(run)))
    page = browser.new_page(viewport={"width": 1100, "height": 1000})
    page.goto(live.url)
    page.fill("#prompt", "My fellow citizens, the people of")
    page.click("#go")
    expect(page.locator("#status")).to_contain_text("steps each", timeout=120_000)
    page.wait_for_timeout(3000)
    target = Path(__file__).parents[2] / "docs" / "images" / "observatory.png"
    page.screenshot(path=target, full_page=True)
    assert target.stat().st_size > 20_000
