# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Channel: JSON messages between a module and the child processes that it forks, over a socket pair."""

from __future__ import annotations

import json
import socket
import struct
import typing as t

_FRAME = struct.Struct("!I")


def send(channel: socket.socket, message: t.Mapping[str, t.Any]) -> None:
    """Raises OSError when the other end has closed."""
    data = json.dumps(message).encode()
    channel.sendall(_FRAME.pack(len(data)) + data)


def read(channel: socket.socket) -> t.Any:
    """The next message, or None when the other end has closed."""
    head = _exactly(channel, _FRAME.size)
    body = _exactly(channel, _FRAME.unpack(head)[0]) if head else None
    return json.loads(body) if body else None


def _exactly(channel: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        try:
            chunk = channel.recv(size - len(data))
        except ConnectionError:  # it died with something unread
            return None
        if not chunk:
            return None
        data += chunk
    return data
