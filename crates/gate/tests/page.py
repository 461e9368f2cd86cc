"""Looks at HTML reports in Chromium: `page.py [--shots FOLDER] PAGE.html …`.

Each page is opened light, dark, at 360 pixels and for print. It must load nothing but itself, write nothing to the console, fit the
width, show where the keyboard is, open everything on paper, and have no finding of axe-core that is serious or critical. axe-core
(MPL-2.0) comes with the package axe-playwright-python and is only run here. Chromium is spoken to over a pipe: no driver is needed.
"""

import base64
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

BROWSERS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
VIEWS = {
    "light": (1200, "light", ""),
    "dark": (1200, "dark", ""),
    "narrow": (360, "light", ""),
    "print": (800, "light", "print"),
}
SECONDS = 60


class Chromium:
    """A browser, and one tab of it."""

    def __init__(self, program):
        self.folder = tempfile.TemporaryDirectory()
        (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()

        def three_and_four():
            # First out of the way of each other.
            reading, writing = os.dup2(theirs_in, 30), os.dup2(theirs_out, 31)
            os.dup2(reading, 3)
            os.dup2(writing, 4)

        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                   "--disable-background-networking", "--no-first-run", "--remote-debugging-pipe"]
        self.process = subprocess.Popen(
            [program, *options, f"--user-data-dir={self.folder.name}", "about:blank"],
            preexec_fn=three_and_four, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self.out, self.read, self.buffer, self.number = ours_out, ours_in, b"", 0
        self.session, self.events = None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def message(self):
        while b"\0" not in self.buffer:
            more = os.read(self.read, 1 << 20)
            if not more:
                raise SystemExit("Chromium ended")
            self.buffer += more
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **params):
        self.number += 1
        text = {"id": self.number, "method": method, "params": params}
        if self.session:
            text["sessionId"] = self.session
        os.write(self.out, json.dumps(text).encode() + b"\0")
        while True:
            message = self.message()
            if message.get("id") == self.number:
                if "error" in message:
                    raise SystemExit(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def run(self, script):
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise SystemExit(f"{script[:80]}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def open(self, url, width, scheme, medium):
        self.call("Emulation.setEmulatedMedia", media=medium, features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
        self.events.clear()
        self.call("Page.navigate", url=url)
        end = time.monotonic() + SECONDS
        while self.run("document.readyState") != "complete" or self.run("location.href") != url:
            if time.monotonic() > end:
                raise SystemExit(f"{url} is not loaded after {SECONDS} s")
            time.sleep(0.05)

    def tab(self):
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()


def axe():
    folder = importlib.util.find_spec("axe_playwright_python").submodule_search_locations[0]
    return (pathlib.Path(folder) / "axe.min.js").read_text(encoding="utf-8")


def findings(browser, script):
    """What axe-core complains of, as (impact, rule, first element)."""
    browser.run(script + ";0")
    found = browser.run("axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map("
                        "v => [v.impact, v.id, v.nodes.length, v.nodes[0].html.slice(0, 160)]))")
    return [tuple(f) for f in found]


def looked_at(browser, url, script, view, shots):
    width, scheme, medium = VIEWS[view]
    browser.open(url, width, scheme, medium)
    time.sleep(0.2)
    wrong = []
    browser.run("0")
    requests = [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    others = [r for r in requests if r != url and not r.startswith("data:")]
    assert url in requests, "no request was seen at all: the test looks at the wrong events"
    wrong += [f"it asks for {r}" for r in others]
    wrong += [f"console: {e['params']}" for e in browser.events
              if e["method"] in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")]
    wide = browser.run("document.documentElement.scrollWidth")
    if wide > width:
        wrong.append(f"it is {wide} pixels wide, and the window {width}")
    if shots:
        height = min(browser.run("document.documentElement.scrollHeight"), 12_000)
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        png = browser.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        name = pathlib.Path(url).stem
        (pathlib.Path(shots) / f"{name}-{view}.png").write_bytes(base64.b64decode(png))
    if medium == "print":
        hidden = browser.run("[...document.querySelectorAll('details > :not(summary)')].filter(e => !e.checkVisibility("
                             "{contentVisibilityAuto: true}) || e.getBoundingClientRect().height === 0).length")
        if hidden:
            wrong.append(f"{hidden} folded parts are not on paper")
        pdf = base64.b64decode(browser.call("Page.printToPDF", printBackground=True)["data"])
        assert pdf.startswith(b"%PDF"), "it cannot be printed"
        return wrong, []
    wrong += keyboard(browser)
    # Folded parts are looked at too.
    browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    found = findings(browser, script)
    wrong += [f"axe-core, {impact}: {rule} ({n} times), {html}" for impact, rule, n, html in found
              if impact in ("serious", "critical")]
    return wrong, [f for f in found if f[0] not in ("serious", "critical")]


def keyboard(browser):
    """The first stops of the Tab key: each another element, each to be seen."""
    there = browser.run("[...document.querySelectorAll('a[href], summary, [tabindex=\"0\"]')].filter(e => e.checkVisibility("
                        "{contentVisibilityAuto: true})).length")
    wanted, stops = min(12, there), []
    browser.run("window.stops = new Set(); 0")
    for _ in range(wanted):
        browser.tab()
        stops.append(browser.run(
            "(e => [e.tagName, e.textContent.slice(0, 40), getComputedStyle(e).outlineStyle, e.getBoundingClientRect().left >= 0,"
            " stops.add(e).size])(document.activeElement)"))
    wrong = [f"the focus is not seen on {s}" for s in stops if s[2] == "none" or not s[3]]
    if wanted < 4 or stops[0][1] != "Skip to the report":
        wrong.append(f"the first of {there} stops is {stops[:1]}")
    if stops and stops[-1][4] != wanted:
        wrong.append(f"the keyboard does not get on: {stops}")
    return wrong


def main():
    arguments = sys.argv[1:]
    shots = arguments[1] if arguments[:1] == ["--shots"] else None
    pages = arguments[2:] if shots else arguments
    assert pages, __doc__
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert program, f"none of {', '.join(BROWSERS)} is installed"
    browser, script, bad = Chromium(program), axe(), 0
    try:
        for page in pages:
            url = pathlib.Path(page).resolve().as_uri()
            for view in VIEWS:
                wrong, minor = looked_at(browser, url, script, view, shots)
                print(f"{'BROKEN' if wrong else 'holds '} {pathlib.Path(page).name}, {view}: {len(wrong)} wrong, {len(minor)} minor findings")
                for line in wrong + [str(m) for m in minor]:
                    print("       ", line)
                bad += len(wrong)
    finally:
        browser.close()
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
