"""Drives a headless Chromium over its pipe, for tests of pages: no package beside it is needed.

The protocol is Chrome's DevTools Protocol; messages are JSON that ends with a null byte, commands
on the browser's file descriptor 3 and answers on 4.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time

NAMES = ("chromium", "chromium-browser", "google-chrome")
#: Seconds to wait for an answer.
PATIENCE = 60


def find_chromium():
    """Path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """A page in a Chromium of its own; to be used in a ``with`` block.

    Attributes:
        requests: Addresses that were asked for, ``data:`` and ``blob:`` left out.
        errors: What the console was told as an error or a warning, and uncaught exceptions.
    """

    def __init__(self, folder, width=1280, height=900):
        self.requests, self.errors = [], []
        self._count, self._answers, self._events, self._rest = 0, {}, [], b""
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        # Pipes that the shell below puts at 3 and 4.
        os.set_inheritable(to_read, True)
        os.set_inheritable(to_write, True)
        arguments = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
            "--no-first-run", f"--user-data-dir={folder}", "--disable-dev-shm-usage", "about:blank",
        ]  # fmt: skip
        line = f'exec "$0" "$@" 3<&{to_read} 4>&{to_write}'
        self._browser = subprocess.Popen(
            ["bash", "-c", line, find_chromium(), *arguments],
            pass_fds=(to_read, to_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_read)
        os.close(to_write)
        target = self.send("Target.createTarget", url="about:blank", session=None)["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True, session=None)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.resize(width, height)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._browser.terminate()
        self._browser.wait(PATIENCE)
        os.close(self._to)
        os.close(self._from)

    def send(self, method, session="own", **params):
        """Sends a command; returns its result."""
        self._count += 1
        number = self._count
        message = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while number not in self._answers:
            self._listen(end)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _listen(self, end):
        if not select.select([self._from], [], [], max(0.0, end - time.monotonic()))[0]:
            raise TimeoutError("Chromium does not answer")
        read = os.read(self._from, 1 << 20)
        if not read:
            raise RuntimeError("Chromium ended")
        *whole, self._rest = (self._rest + read).split(b"\0")
        for text in whole:
            self._take(json.loads(text))

    def _take(self, message):
        if "id" in message:
            self._answers[message["id"]] = message
            return
        method, params = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            address = params["request"]["url"]
            if not address.startswith(("data:", "blob:")):
                self.requests.append(address)
        elif method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"])[:400])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.errors.append(json.dumps(params["args"])[:400])
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(params["entry"]["text"])

    def resize(self, width, height):
        """Sets the size of the window, in pixels."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip

    def open(self, address):
        """Opens an address; returns once its own scripts have run."""
        self.send("Page.navigate", url=address)
        self.until("document.readyState === 'complete'")

    def run(self, script):
        """The value of a JavaScript expression."""
        found = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def until(self, script, seconds=PATIENCE):
        """Waits until a JavaScript expression is true."""
        end = time.monotonic() + seconds
        while not self.run(script):
            if time.monotonic() > end:
                raise TimeoutError(f"never true: {script}")
            time.sleep(0.02)

    def point_at(self, x, y):
        """Moves the mouse there."""
        for dx in (-3, 0):
            self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x + dx, y=y)

    def press(self, key, code=0):
        """Presses a key."""
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code)

    def picture(self, path, whole=False):
        """Writes a PNG file of the window, or of the whole page."""
        found = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def printed(self):
        """The page as PDF."""
        return base64.b64decode(self.send("Page.printToPDF", printBackground=True)["data"])
