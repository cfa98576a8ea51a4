"""A real browser without a window, and a proxy that cuts connections, for tests of the page."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
# WebGL is drawn by the processor, so that the tests need no graphics card.
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", "--disable-extensions",
    "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
]  # fmt: skip
SECONDS = 30.0


class Browser:
    """One window with the page of a server.

    Args:
        driver: selenium's driver.
    """

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        """Load a page from the beginning."""
        self.driver.get("about:blank")
        self.driver.get(url)

    def js(self, script: str, *values: Any) -> Any:
        """Return the value of an expression in the page."""
        return self.driver.execute_script(f"return {script}", *values)

    def until(self, condition: Callable[[], Any], what: str = "") -> Any:
        """Wait for a condition and return its value."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            time.sleep(0.05)
        body = self.text("body")
        pytest.fail(f"waited {SECONDS:g} s for {what or condition}; the page shows:\n{body}\n{self.log()}")

    def text(self, selector: str) -> str:
        """Return the text of the first element of a selector that is shown, or an empty text."""
        return self.js("document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def texts(self, selector: str) -> list[str]:
        """Return the texts of all elements of a selector."""
        return self.js("[...document.querySelectorAll(arguments[0])].map((e) => e.innerText)", selector)

    def one(self, selector: str) -> Any:
        """Return an element, once it is there."""
        return self.until(lambda: self.js("document.querySelector(arguments[0])", selector), selector)

    def click(self, selector: str, text: str | None = None) -> None:
        """Click an element, the one with this text where several match."""
        script = "[...document.querySelectorAll(arguments[0])].find((e) => arguments[1] === null || "
        script += "e.innerText.trim() === arguments[1])"
        self.until(lambda: self.js(script, selector, text), f"{selector} {text}").click()

    def keys(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def click_map(self, x: float, y: float) -> None:
        """Click a pixel of the map, counted from its upper left corner."""
        from selenium.webdriver.common.action_chains import ActionChains

        box = self.js("document.querySelector('#map canvas').getBoundingClientRect().toJSON()")
        chain = ActionChains(self.driver)
        chain.w3c_actions.pointer_action.move_to_location(int(box["x"] + x), int(box["y"] + y))
        chain.w3c_actions.pointer_action.click()
        chain.perform()

    def drag(self, places: list[tuple[float, float]]) -> None:
        """Press the mouse at the first of these pixels of the map, move it through the others, and release it."""
        from selenium.webdriver.common.action_chains import ActionChains

        box = self.js("document.querySelector('#map canvas').getBoundingClientRect().toJSON()")
        chain = ActionChains(self.driver, duration=40)
        pointer = chain.w3c_actions.pointer_action
        for number, (x, y) in enumerate(places):
            pointer.move_to_location(int(box["x"] + x), int(box["y"] + y))
            if number == 0:
                pointer.pointer_down()
        pointer.pointer_up()
        chain.perform()

    def log(self) -> list[str]:
        """Return what the browser logged since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def emulate(self, width: int = 1280, height: int = 800, *, dark: bool = False) -> None:
        """Set the size of the window, and whether the system is dark."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


@contextmanager
def browser(*flags: str) -> Iterator[Browser]:
    """Start a browser; the test is skipped where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver")
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, *flags):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        window = Browser(driver)
        window.emulate()
        yield window
    finally:
        driver.quit()


class CuttingProxy:
    """Passes connections on to a server, and dies in the middle of the first answer that is streamed after `arm`.

    Args:
        port: port of the server.

    Attributes:
        port: port of the proxy.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._armed = False
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self) -> None:
        """Die at the next piece of an answer."""
        self._armed = True

    def close(self) -> None:
        """End all connections and take no more."""
        for one in (self._listener, *self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += [client, server]
            threading.Thread(target=self._pass, args=(client, server), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                target.sendall(data)
                if self._armed and b'"delta":{"content"' in data:
                    self.close()
                    return
        except OSError:
            pass
        finally:
            for one in (source, target):
                one.close()
