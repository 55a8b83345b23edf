# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patroni's REST API: small questions and one kind of change, with errors that say what to do.

Credentials go to the address that was named and nowhere else: no redirect is followed, no proxy asked.
"""

from __future__ import annotations

import json
import socket
import ssl
import time
import typing as t
from http.client import HTTPException
from urllib.error import HTTPError, URLError

from ansible.module_utils import urls

from .._errors import Failure
from ._patroni_config import Api, Config

_TIMEOUT = 10.0
#: A PATCH that meets another change of the configuration is refused; it is a merge, and so can be said again.
_CONFLICTS = 5
_PAUSE = 0.2


class Rest:
    """The REST API of one member. Every method raises Failure with a code that begins with ``patroni_``."""

    def __init__(self, api: Api, timeout: float = _TIMEOUT) -> None:
        self.api = api
        self._timeout = timeout

    def get(self, path: str) -> Config:
        """What the member answers; without the password, for nothing that is read needs it."""
        return self._ask("GET", path, None)

    def patch_config(self, body: Config) -> Config:
        """Merge *body* into the dynamic configuration; gives all of it as it is then."""
        attempt = 1
        while True:
            try:
                return self._ask("PATCH", "/config", body)
            except Failure as failure:
                if failure.code != "patroni_conflict" or attempt == _CONFLICTS:
                    raise
            time.sleep(_PAUSE * attempt)
            attempt += 1

    def _ask(self, method: str, path: str, body: Config | None) -> Config:
        api, asked = self.api, f"{method} {self.api.url}{path}"
        secret = method != "GET" and api.user is not None
        try:
            answer = urls.open_url(
                f"{api.url}{path}",
                method=method,
                data=None if body is None else json.dumps(body).encode(),
                headers={"Content-Type": "application/json"},
                timeout=self._timeout,
                use_proxy=False,
                use_netrc=False,
                follow_redirects="none",
                validate_certs=api.validate_certs,
                ca_path=api.ca_cert,
                client_cert=api.client_cert,
                client_key=api.client_key,
                url_username=api.user if secret else None,
                url_password=(api.password or "") if secret else None,
                force_basic_auth=secret,
            )
            content = answer.read()
        except HTTPError as error:
            raise self._refused(asked, error.code) from None
        except (OSError, ValueError, HTTPException, urls.ConnectionError, urls.NoSSLError) as error:
            raise self._unreachable(asked, error) from None
        try:
            found = json.loads(content)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            remedy = "Correct api_url: it has to be that of Patroni, by default port 8008."
            raise Failure("patroni_answer", asked, "the answer is no JSON object", remedy)
        return found

    def _refused(self, asked: str, status: int) -> Failure:
        """What an answer with an error means; its text is not shown, it may be anything."""
        code, found, remedy = _STATUSES.get(
            status, ("patroni_answer", f"it answers with status {status}", "See Patroni's log.")
        )
        if status == 401 and self.api.user is None:
            found = "it wants credentials, and none are known"
        return Failure(code, asked, found, remedy, status=status)

    def _unreachable(self, asked: str, error: Exception) -> Failure:
        reason: t.Any = error.reason if isinstance(error, URLError) else error
        text = " ".join(str(reason).split()) or type(reason).__name__
        tls = isinstance(reason, (ssl.SSLError, urls.SSLValidationError)) or "SSL" in text or "certificate" in text
        # A client certificate that is refused may show as no more than a connection that is closed.
        closed = isinstance(reason, (BrokenPipeError, ConnectionResetError)) and self.api.url.startswith("https:")
        if tls or closed:
            remedy = "Give api_ca_cert (and api_client_cert where Patroni wants one), or correct the name in api_url."
            return Failure("patroni_tls", asked, text, remedy)
        if isinstance(reason, FileNotFoundError):
            return Failure("patroni_tls", asked, text, "Correct api_ca_cert, api_client_cert and api_client_key.")
        if isinstance(reason, (socket.timeout, TimeoutError)):
            text = f"no answer within {self._timeout:g} s"
        return Failure("patroni_unreachable", asked, text, "Start Patroni, or correct api_url (http or https, port).")


_STATUSES = {
    401: ("patroni_denied", "it does not take the credentials", "Give api_user and api_password."),
    403: (
        "patroni_denied",
        "it refuses this client",
        "Let restapi.allowlist have this host's address, or give the api_client_cert that restapi.verify_client wants.",
    ),
    404: ("patroni_answer", "there is no such path", "Correct api_url: it has to be that of Patroni."),
    409: ("patroni_conflict", "somebody else changes the configuration at the same time", "Run again."),
    502: ("patroni_unavailable", "it has no configuration from its DCS", "See whether the DCS works, then run again."),
    503: ("patroni_unavailable", "it has no configuration from its DCS", "See whether the DCS works, then run again."),
}
