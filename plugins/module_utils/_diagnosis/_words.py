# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words, a pure room: what the two ends of a connection say, as far as a capture has it; only its kind is kept."""

from __future__ import annotations

import re

#: A goodbye that cannot be read counts only if the end came so soon after it.
AT_ONCE = 1.0

_REQUESTS = {
    80877102: "cancel_request",
    80877103: "tls_request",
    80877104: "gss_request",
}
_HTTP = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"OPTIONS ", b"CONNECT ", b"DELETE ", b"PRI * HTTP")
# TLS records begin with what they are: handshake, alert, data.
_CLIENT_HELLO, _ALERT, _ENCRYPTED = b"\x16\3", b"\x15", b"\x17\3\3"
_TERMINATE = b"X\0\0\0\4"
# AuthenticationRequest, of the kinds that want an answer: password, MD5, GSS, SSPI, SASL, and what continues them.
_ASKS = re.compile(rb"R\0...\0\0\0[\3\5\7\x08\x09\x0a\x0b]", re.DOTALL)
# What a goodbye under TLS measures (TLS 1.3, 1.2 with GCM, 1.2 with ChaCha20): the message X, close_notify, or both.
_TLS_ALERT = frozenset((24, 31, 23))
_TLS_GOODBYE = frozenset((27, 34, 26, 24, 31, 23, 51, 65, 49))

# ErrorResponse or NoticeResponse: severity, the same untranslated (since 9.6), SQLSTATE; the text follows.
_VERDICT = re.compile(
    rb"[EN]\0\0..S(?=[^\0]{1,40}\0[VC])(?:[^\0]+\0V)?(ERROR|FATAL|PANIC|WARNING)\0C([0-9A-Z]{5})\0M",
    re.DOTALL,
)


class Words:
    """Listens to one connection."""

    def __init__(self) -> None:
        self.tls = False
        self.goodbye = False  # the client has sent a message X
        self.certain = False  # that was read
        self.verdict: str | None = None  # of the server's last ErrorResponse
        self.asked = False  # the server's last word asks who the client is
        self._segments = 0  # of the client
        self._first = self._head = b""  # the begin of its first and of its last segment, as far as it was captured
        self._tail: bytes | None = None  # the end of the last, if it was captured
        self._first_size = self._size = 0
        self._said_at = 0.0
        self._answer = 0  # bytes from the server since

    def client(self, time: float, payload: bytes, size: int, whole_session: bool) -> None:
        """A segment of *size* bytes. Only if *whole_session*, the first is the first of the connection."""
        if not self._segments:
            self._first, self._first_size = payload[:16], size
        self._segments += 1
        self._size, self._head, self._said_at = size, payload[:5], time
        self._tail = payload[-5:] if len(payload) == size else None
        self._answer = 0
        if self._segments <= 4 and not self.tls:
            self.tls = payload[:2] == _CLIENT_HELLO or (not whole_session and payload[:3] == _ENCRYPTED)

    def server(self, payload: bytes, size: int) -> None:
        self._answer += size
        self.asked = not self.tls and _ASKS.match(payload) is not None
        if not self.tls and b"\0C" in payload:
            found = _VERDICT.findall(payload)
            if found:
                self.verdict = b" ".join(found[-1]).decode("ascii")

    def end(self, time: float, closed_at: float) -> None:
        """An end closes the connection now; the first did so at *closed_at*. Was the client's last word a goodbye?"""
        if not self._segments or self._said_at > closed_at or self.goodbye:
            return
        if self._tail is not None and not self.tls:
            self.goodbye = self.certain = self._tail == _TERMINATE and not self._answer
            return
        # Encrypted, or not captured: what is left is its size, that no answer came, and that the end came at once.
        if time - self._said_at >= AT_ONCE:
            return
        if self._size == len(_TERMINATE) and not self.tls:
            self.goodbye = _TERMINATE.startswith(self._head) and not self._answer
        elif self._size in _TLS_GOODBYE or (self.tls and self._head[:1] == _ALERT):
            self.goodbye = not self._answer or self._answer in _TLS_ALERT

    def first(self) -> str | None:
        """What the client said first; None if that was not captured."""
        if not self._segments:
            return "none"
        data = self._first
        if data.startswith(_HTTP):
            return "http"
        if data[:2] == _CLIENT_HELLO:
            return "tls_request"  # sslnegotiation=direct
        if len(data) < 8:
            return None if len(data) < self._first_size else "other"
        code = int.from_bytes(data[4:8], "big")
        return "postgresql" if code >> 16 in (2, 3) else _REQUESTS.get(code, "other")
