"""The page's files: complete, sent with a strict policy, and without a way for text to become code."""

import re
from importlib.resources import files

import pytest

from tests.support.gateway import Scene

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self' data:",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}
NAMES = sorted(file.name for file in files("gateway.page").joinpath("static").iterdir())


async def test_the_files_need_no_token_and_are_sent_with_care(scene: Scene):
    await scene.worker()
    served = await scene.gateway(hs256_key="a key that nobody needs for the page's files")
    for path in ("/", *(f"/page/{name}" for name in NAMES if name != "index.html")):
        response = await served.http.get(path)
        assert response.status_code == 200, path
        headers = response.headers
        directives = [one.strip().partition(" ") for one in headers["content-security-policy"].split(";")]
        assert {name: value for name, _, value in directives} == POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        again = await served.http.get(path, headers={"if-none-match": headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert (await served.http.head(path)).headers["content-length"] == str(len(response.content))
    assert (await served.http.get("/")).headers["content-type"] == "text/html; charset=utf-8"
    for path in ("/page/", "/page/index.html", "/page/../app.py", "/page/%2e%2e/app.py", "/page/none.js"):
        assert (await served.http.get(path)).status_code == 404, path
    assert (await served.http.post("/")).status_code == 405
    assert (await served.http.get("/", headers={"host": "evil.example"})).status_code == 421


@pytest.mark.parametrize("name", NAMES)
def test_a_file_has_no_inline_code_and_asks_no_other_site(name: str):
    text = files("gateway.page").joinpath("static", name).read_text(encoding="utf-8")
    addresses = set(re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}[^\s\"']*", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}, addresses
    if name.endswith(".html"):
        assert not re.search(r"\son\w+=|\sstyle=|<style|javascript:|<script(?![^>]*\ssrc=)", text)
    if name.endswith(".js"):
        forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|\"style\""
        assert not re.search(forbidden, text)
        assert len(text.splitlines()) <= 250


def test_every_module_that_is_imported_is_there():
    for name in NAMES:
        text = files("gateway.page").joinpath("static", name).read_text(encoding="utf-8")
        for wanted in re.findall(r'from "\./([^"]+)"', text):
            assert wanted in NAMES, (name, wanted)
