# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hardened: the settings that were last put in force on a host, noted beside its revert file, for drift to be seen."""

from __future__ import annotations

import datetime
import json
import os
import typing as t

from . import _files
from ._errors import Failure

_FORMAT = 1


def path_for(revert_file: str) -> str:
    """The note that belongs to a revert file."""
    return f"{os.path.splitext(revert_file)[0]}.hardened.json"


def note(
    revert_file: str, profile: str, settings: t.Mapping[str, t.Any], scope: t.Mapping[str, t.Any] | None = None
) -> None:
    """Note *settings* (of the server as text in base units, of the kernel as numbers) as what is wanted from now on.

    A layer without any says nothing of what another run has noted of it.

    *scope* says for which databases and roles, where it is not the whole server, and what these cannot have. What was
    noted of the whole server is still wanted then, and stays. The time stays that of the first run that wanted just
    this. The note is worth no failure of a run that has put all in force:
    where it cannot be written, drift cannot be told.
    """
    path = path_for(revert_file)
    old = read(revert_file)
    settings = {layer: values or (old["settings"].get(layer, {}) if old else {}) for layer, values in settings.items()}
    if old and scope and not old["scope"] and old["settings"].get("server"):
        profile, scope, settings = old["profile"], None, {**settings, "server": old["settings"]["server"]}
    if old and (old["profile"], old["settings"], old["scope"]) == (profile, settings, scope):
        return
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    content = {"format": _FORMAT, "time": now, "profile": profile, "settings": settings, "scope": scope}
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        _files.replace(path, json.dumps(content, indent=1, sort_keys=True).encode() + b"\n", mode=0o600)
    except (OSError, Failure):
        return


def read(revert_file: str) -> dict[str, t.Any] | None:
    """``time``, ``profile``, ``settings`` and ``scope``; None where there is no note that can be read."""
    try:
        content = json.loads(_files.read(path_for(revert_file)) or b"")
        if content["format"] == _FORMAT:
            return {**{key: content[key] for key in ("time", "profile", "settings")}, "scope": content.get("scope")}
    except (OSError, Failure, ValueError, KeyError, TypeError):
        pass
    return None


def forget(revert_file: str) -> None:
    """Nothing is wanted of this host any more."""
    _files.remove(path_for(revert_file))
