"""What the page may do, who may speak to its server, and what is left of a citizen's secrets: nothing."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.rig.browser import Chromium
from tests.rig.secrecy import Planted
from tests.rig.stage import Stage
from tests.rig.visitor import NEW_PASSWORD, Visitor

HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self'",
    "font-src": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "require-trusted-types-for": "'script'",
}
# Each tries something that a page with a hole in it could be made to do; `done` says that it was not stopped.
ATTACKS = {
    "inline script": """
        const script = document.createElement("script");
        script.textContent = "document.dispatchEvent(new Event('done'))";
        document.body.append(script);""",
    "inline handler": """
        const image = document.createElement("img");
        image.setAttribute("onerror", "document.dispatchEvent(new Event('done'))");
        image.src = "/nothing";
        document.body.append(image);""",
    "a script from a string": """setTimeout("document.dispatchEvent(new Event('done'))");""",
    "html from a string": """document.createElement("div").innerHTML = "<b>text</b>"; done();""",
    "another policy": """trustedTypes.createPolicy("mine", { createHTML: (text) => text }); done();""",
    "another origin": """fetch(`http://localhost:${location.port}/`, { mode: "no-cors" }).then(done, () => {});""",
    "a form": """
        const form = document.createElement("form");
        form.action = "/press/touch";
        form.method = "post";
        document.body.append(form);
        form.submit();""",
}
STOPPED = (
    "thrown",
    "connect-src",
    "form-action",
    "require-trusted-types-for",
    "script-src-attr",
    "script-src-elem",
    "trusted-types",
)
TRY = """() => new Promise((resolve) => {
  const done = () => resolve("done");
  document.addEventListener("done", done);
  document.addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
  setTimeout(() => resolve("nothing happened"), 5000);
  try { %s } catch { resolve("thrown"); }
})"""


def answered(address: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of a request as any program of the machine could make it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(address, method=method, headers=named, data=b"" if method == "POST" else None)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {name.lower(): value for name, value in error.headers.items()}, error.read()


def test_answers_carry_a_strict_policy(stage: Stage) -> None:
    for path in ("/", "/static/js/page.js", "/nothing"):
        _, headers, _ = answered(stage.screen.address + path)
        assert {name: headers[name] for name in HEADERS} == HEADERS
        given = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
        assert {name: given[name] for name in POLICY} == POLICY
        assert not any(host in headers["content-security-policy"] for host in ("unsafe", "*", "http", "data:"))


@pytest.mark.parametrize("attack", ATTACKS)
def test_policy_stops(visitor: Visitor, attack: str) -> None:
    """In the browser, on the page as it is."""
    visitor.expected = ("has been blocked", "Refused to", "404 (Not Found)")
    visitor.at("idle")
    assert visitor.page.evaluate(TRY % ATTACKS[attack]) in STOPPED
    assert visitor.name == "idle"


def test_nothing_comes_from_anywhere_else(visitor: Visitor, browser: Chromium) -> None:
    asked: list[str] = []
    browser.context.on("request", lambda request: asked.append(request.url))
    visitor.page.reload()
    visitor.to_terms()
    assert asked
    assert [url for url in asked if not url.startswith(visitor.screen.address + "/")] == []
    assert browser.context.cookies() == []
    assert visitor.page.evaluate("localStorage.length + sessionStorage.length") == 0
    assert visitor.page.evaluate("navigator.serviceWorker.getRegistrations().then((all) => all.length)") == 0
    assert visitor.page.evaluate("indexedDB.databases().then((all) => all.length)") == 0


def token_of(v: Visitor) -> str:
    return v.page.locator('meta[name="page-token"]').get_attribute("content") or ""


@pytest.mark.parametrize(
    "path", ["/press/touch", "/press/language-en", "/press/agree", "/beat", "/user-pin", "/new-password"]
)
def test_only_the_page_may_speak(visitor: Visitor, path: str) -> None:
    """Neither another program without its token, nor another site's page with it, nor a name that leads here."""
    v = visitor
    v.at("idle")
    address, origin, token = v.screen.address, v.screen.address, token_of(v)
    refused = [
        answered(address + path, "POST", Origin=origin),
        answered(address + path, "POST", Origin=origin, X_Page_Token="0" * 32, X_View="1"),
        answered(address + path, "POST", Origin="http://example.org", X_Page_Token=token, X_View="1"),
        answered(address + path, "POST", X_Page_Token=token, X_View="1"),
        answered(address + path, "POST", Origin=origin, X_Page_Token=token, Sec_Fetch_Site="cross-site"),
        answered(address + path, "POST", Origin="http://kiosk.example", Host="kiosk.example", X_Page_Token=token),
    ]
    assert [status for status, _, _ in refused] == [403] * len(refused)
    assert answered(address + path, "GET", X_Page_Token=token)[0] == 405
    assert v.name == "idle"
    assert v.page.locator("html").get_attribute("lang") == "ja"


def test_document_is_not_given_to_another_name(stage: Stage) -> None:
    for host in ("kiosk.example", "127.0.0.1", "127.0.0.1:1"):
        assert answered(stage.screen.address + "/", Host=host)[0] == 403


def test_there_is_nothing_but_the_screen(stage: Stage) -> None:
    """No list of attempts, no metrics, no file outside the static ones."""
    for path in (
        "/attempts",
        "/status",
        "/metrics",
        "/docs",
        "/openapi.json",
        "/static/../server.py",
        "/static/%2e%2e/run.py",
    ):
        assert answered(stage.screen.address + path)[0] == 404
    operators = str(stage.stack.gatewayd.operators_socket)
    assert operators not in " ".join(str(word) for word in stage.screen.command())


# --- secrets ----------------------------------------------------------------------------------------------------------


def strings_of_heap(v: Visitor) -> list[str]:
    """Every string in the page's JavaScript heap."""
    session = v.page.context.new_cdp_session(v.page)
    chunks: list[str] = []
    session.on("HeapProfiler.addHeapSnapshotChunk", lambda event: chunks.append(event["chunk"]))
    session.send("HeapProfiler.takeHeapSnapshot", {"reportProgress": False})
    session.detach()
    snapshot: dict[str, Any] = json.loads("".join(chunks))
    strings: list[str] = snapshot["strings"]
    assert "kiosk" in strings, "the page's own words are not there: it is not its heap"
    return strings


def found_in(v: Visitor, pin: str) -> Iterator[str]:
    """Where the secrets are, in the document and in the heap."""
    if NEW_PASSWORD in v.page.content():
        yield "document"
    for text in strings_of_heap(v):
        if NEW_PASSWORD in text.upper() or text == pin:
            yield f"heap: {text[:60]!r}"


def test_nothing_is_left_of_the_secrets(visitor: Visitor, stage: Stage) -> None:
    """By touch, with the password shown on the way: neither when the outcome is told nor at the end.

    The engine has numbers of its own in the heap, so the PIN is one that is not among them.
    """
    v, stack = visitor, stage.stack
    known = set(strings_of_heap(v))
    pin = next(f"{number}" for number in range(8052, 9999) if f"{number}" not in known)
    card = stack.site.issue(name="secretive", user_pin=pin)
    stack.site.register(card)
    stack.cardsim.cards.append(card)
    stack.cardsim.restart()
    v.reserve("secretive")
    v.to_pin("secretive")
    v.enter_pin(pin)
    v.at("new_password")
    v.panel("new")
    v.type(NEW_PASSWORD)
    box = v.page.locator("#screen [data-show]:visible").bounding_box()
    assert box
    v.page.mouse.move(box["x"] + 5, box["y"] + 5)
    v.page.mouse.down()
    v.page.wait_for_selector("#screen [data-shown]:visible")
    v.page.mouse.up()
    v.confirm()
    v.panel("again")
    v.type(NEW_PASSWORD)
    v.confirm()
    v.panel("confirm")
    v.confirm()
    v.told("done")
    assert list(found_in(v, pin)) == []
    v.leave()
    assert list(found_in(v, pin)) == []
    assert Planted([NEW_PASSWORD], []).found(stage.browser.profile) == []  # four digits alone are in every cache
    assert Planted([NEW_PASSWORD], [pin]).found(stack.directory) == []


def test_help_covers_what_was_typed(visitor: Visitor) -> None:
    v = visitor
    v.to_pin()
    v.type("13")
    v.press("help")
    v.at("help")
    assert "●" not in v.text
    v.press("close-help")
    v.at("user_pin")
