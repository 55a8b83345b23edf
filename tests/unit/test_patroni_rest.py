# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of Patroni's REST API: what goes over the wire, and what rare answers mean."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import typing as t
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._layers import _patroni_rest
from ansible_collections.pgharden.connection.plugins.module_utils._layers._patroni_config import Api
from ansible_collections.pgharden.connection.plugins.module_utils._layers._patroni_rest import Rest

PASSWORD = "S3cret-Of-The-Test"
CREDENTIALS = "Basic " + base64.b64encode(f"u:{PASSWORD}".encode()).decode()

Answer = tuple[int, str]


class Server:
    """Answers what it is told to, one after the other and the last one from then on, and keeps what it was asked."""

    def __init__(self, *answers: Answer, location: str = "") -> None:
        self.asked: list[tuple[str, str, str | None, str]] = []
        rest = list(answers)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                outer.asked.append((self.command, self.path, self.headers.get("Authorization"), body))
                status, text = rest.pop(0) if len(rest) > 1 else rest[0]
                self.send_response(status)
                if location:
                    self.send_header("Location", location)
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_PATCH = _answer

            def log_message(self, *_arguments: t.Any) -> None:
                """Not to standard error."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve() -> t.Iterator[t.Callable[..., Server]]:
    with contextlib.ExitStack() as stack:

        def new(*answers: Answer, location: str = "") -> Server:
            return stack.enter_context(contextlib.closing(Server(*answers, location=location)))

        yield new


def rest(server: Server) -> Rest:
    return Rest(Api(server.url, "u", PASSWORD))


def test_the_password_goes_with_a_change_alone(serve: t.Callable[..., Server]) -> None:
    server = serve((200, '{"ttl": 30}'))
    assert rest(server).get("/config") == {"ttl": 30}
    assert rest(server).patch_config({"a": None}) == {"ttl": 30}
    assert server.asked == [("GET", "/config", None, ""), ("PATCH", "/config", CREDENTIALS, '{"a": null}')]
    assert Rest(Api(server.url)).patch_config({}) == {"ttl": 30}
    assert server.asked[-1] == ("PATCH", "/config", None, "{}")


def test_neither_a_redirect_nor_a_proxy_nor_netrc(
    serve: t.Callable[..., Server], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = serve((200, "{}"))
    (tmp_path / ".netrc").write_text("default login other password other\n")
    (tmp_path / ".netrc").chmod(0o600)
    for name, value in (("http_proxy", elsewhere.url), ("HOME", str(tmp_path)), ("NETRC", str(tmp_path / ".netrc"))):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("no_proxy", raising=False)
    for status in (301, 302, 303, 307, 308):
        server = serve((status, ""), location=elsewhere.url)
        for call in (lambda one: one.get("/config"), lambda one: one.patch_config({})):
            with pytest.raises(Failure) as caught:
                call(rest(server))
            assert caught.value.code == "patroni_answer"
        assert [authorization for _method, _path, authorization, _body in server.asked] == [None, CREDENTIALS]
    assert elsewhere.asked == []


def test_a_conflict_is_tried_again(serve: t.Callable[..., Server]) -> None:
    server = serve((409, ""), (409, ""), (200, '{"ttl": 30}'))
    assert rest(server).patch_config({}) == {"ttl": 30}
    assert len(server.asked) == 3


def test_but_not_for_ever(serve: t.Callable[..., Server]) -> None:
    server = serve((409, ""))
    with pytest.raises(Failure) as caught:
        rest(server).patch_config({})
    assert caught.value.code == "patroni_conflict"
    assert len(server.asked) == 5


@pytest.mark.parametrize(
    ("status", "text", "code", "remedy"),
    [
        (401, "", "patroni_denied", "api_user"),
        (403, "Access is denied", "patroni_denied", "allowlist"),
        (404, "", "patroni_answer", "api_url"),
        (500, PASSWORD, "patroni_answer", "log"),
        (502, "", "patroni_unavailable", "DCS"),
        (503, "", "patroni_unavailable", "DCS"),
        (200, "<html>", "patroni_answer", "8008"),
        (200, "[]", "patroni_answer", "8008"),
        (200, "", "patroni_answer", "8008"),
    ],
)
def test_what_answers_mean(serve: t.Callable[..., Server], status: int, text: str, code: str, remedy: str) -> None:
    server = serve((status, text))
    with pytest.raises(Failure) as caught:
        rest(server).patch_config({"a": PASSWORD})
    assert caught.value.code == code
    assert remedy in caught.value.remedy
    assert server.url in caught.value.asked
    assert len(server.asked) == 1
    assert PASSWORD not in json.dumps(caught.value.as_dict())


def test_without_credentials_it_says_so(serve: t.Callable[..., Server]) -> None:
    with pytest.raises(Failure, match="none are known"):
        Rest(Api(serve((401, "")).url)).patch_config({})


def test_nobody_there_and_nobody_who_answers() -> None:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        api = Api(f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(Failure, match="refused") as caught:
            Rest(api).get("/config")
        assert caught.value.code == "patroni_unreachable"
        listener.listen()
        with pytest.raises(Failure, match=r"no answer within 0\.2 s") as caught:
            Rest(api, timeout=0.2).get("/config")
        assert caught.value.code == "patroni_unreachable"


@pytest.mark.parametrize(("url", "code"), [("https", "patroni_tls"), ("http", "patroni_unreachable")])
def test_a_connection_that_is_closed(monkeypatch: pytest.MonkeyPatch, url: str, code: str) -> None:
    """As a refused client certificate may show, depending on who is quicker; nobody can make it do so on demand."""

    def closed(*_arguments: t.Any, **_options: t.Any) -> t.NoReturn:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(_patroni_rest.urls, "open_url", closed)
    with pytest.raises(Failure) as caught:
        Rest(Api(f"{url}://127.0.0.1:8008")).get("/config")
    assert caught.value.code == code
