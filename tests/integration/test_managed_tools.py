# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files for managed services, given to the tools they are for, as far as these come without the provider.

avn comes from PyPI. terraform, its provider for Amazon and gcloud are on some machines only; tests/unit reads what they
would read with parsers that are everywhere.
"""

from __future__ import annotations

import http.server
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.pgharden.connection.plugins.module_utils._managed import _parameters, _snippets
from ansible_collections.pgharden.connection.plugins.plugin_utils import _filters

PLAN = _filters.plan({"close_idle_in_transaction_after": "10min"}, profile="replication", version=17)
OPTIONS = {"cluster": "c1", "region": "europe-west1", "project": "p1"}
#: What quoting has to survive; no provider has such a value.
NASTY = "a\"b\\c${d}%{e}'f"
TERRAFORM = [name for name, forms in _snippets.FORMATS.items() if "terraform" in forms]
#: Where a provider may lie that was put on the machine by its administrator.
MIRRORS = [
    Path(path) for path in ("/opt/tf-plugins", "/usr/share/terraform/plugins", "/usr/local/share/terraform/plugins")
]


def file(service: str, form: str, extra: dict[str, str] | None = None) -> _snippets.File:
    found = _parameters.parameters(PLAN, service, extra=extra)
    (one,) = _snippets.render(found, form, "orders", 17, OPTIONS)
    return one


def command(service: str) -> list[str]:
    (line,) = [line for line in file(service, "cli").content.splitlines() if not line.startswith("#")]
    return shlex.split(line)


def run(
    argv: t.Sequence[str], *, env: dict[str, str] | None = None, **options: t.Any
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, check=False, capture_output=True, text=True, timeout=600, env={**os.environ, **(env or {})}, **options
    )


# ---- avn


class Api(http.server.BaseHTTPRequestHandler):
    """As much of Aiven's API as avn asks before it sends an update; notes what is sent."""

    sent: t.ClassVar[list[tuple[str, dict[str, t.Any]]]] = []

    def do_GET(self) -> None:
        number = {"type": ["integer", "null"], "title": ""}
        names = ("idle_in_transaction_session_timeout", "wal_sender_timeout")
        schema = {"properties": {"pg": {"type": "object", "properties": dict.fromkeys(names, number)}}}
        service = {"service_type": "pg", "plan": "business-4", "cloud_name": "aws-eu-west-1", "state": "RUNNING"}
        self._answer({"service": {**service, "user_config": {}}, "user_config_schema": schema})

    def do_PUT(self) -> None:
        self.sent.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
        self._answer({"service": {}})

    def _answer(self, body: dict[str, t.Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_arguments: t.Any) -> None:
        pass


def test_avn_sends_what_the_file_for_the_api_says(tmp_path: Path) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        avn, *arguments = command("aiven")
        assert avn == "avn"
        where = ["--url", f"http://127.0.0.1:{server.server_port}", "--auth-token", "t"]
        program = [sys.executable, "-m", "aiven.client", *where]
        done = run([*program, *arguments], env={"HOME": str(tmp_path)})
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stderr
    ((path, body),) = Api.sent
    assert path.endswith("/project/p1/service/orders")
    assert body["user_config"] == json.loads(file("aiven", "api-json").content)["user_config"]
    assert body["user_config"]["pg"]["idle_in_transaction_session_timeout"] == 600_000


# ---- terraform

needs_terraform = pytest.mark.skipif(not shutil.which("terraform"), reason="there is no terraform")


def terraform(directory: Path, *arguments: str, **options: t.Any) -> subprocess.CompletedProcess[str]:
    mirrors = "".join(f'  filesystem_mirror {{ path = "{path}" }}\n' for path in MIRRORS if path.is_dir())
    settings = directory / "terraform.rc"
    settings.write_text(f"disable_checkpoint = true\nprovider_installation {{\n{mirrors}}}\n")
    environment = {"TF_CLI_CONFIG_FILE": str(settings), "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
    return run(["terraform", *arguments], env=environment, cwd=directory, **options)


@needs_terraform
def test_terraform_would_format_them_the_same(tmp_path: Path) -> None:
    for service in TERRAFORM:
        for name, extra in (("plain", {}), ("nasty", {"log_line_prefix": NASTY})):
            (tmp_path / f"{service}-{name}.tf").write_text(file(service, "terraform", extra).content)
    done = terraform(tmp_path, "fmt", "-check", "-diff", "-no-color", ".")
    assert done.returncode == 0, done.stdout + done.stderr
    broken = tmp_path / "broken.tf"
    broken.write_text(file("rds", "terraform").content.replace("}", "", 1))
    assert terraform(tmp_path, "fmt", "-check", ".").returncode != 0, "or else this proves nothing"


@needs_terraform
def test_terraform_reads_a_string_as_it_was(tmp_path: Path) -> None:
    (line,) = [row for row in file("rds", "terraform", {"x": NASTY}).content.splitlines() if "b\\\\" in row]
    done = terraform(tmp_path, "console", "-no-color", input=f"jsonencode({line.partition(' = ')[2]})\n")
    assert done.returncode == 0, done.stderr
    assert json.loads(json.loads(done.stdout)) == NASTY


@needs_terraform
@pytest.mark.skipif(
    not any((path / "registry.terraform.io/hashicorp/aws").is_dir() for path in MIRRORS),
    reason="Terraform's provider for Amazon is not on this machine",
)
def test_the_provider_knows_every_argument(tmp_path: Path) -> None:
    for service in ("rds", "aurora"):
        (tmp_path / f"{service}.tf").write_text(file(service, "terraform").content)
    done = terraform(tmp_path, "init", "-input=false", "-no-color", "-backend=false")
    assert done.returncode == 0, done.stderr
    done = terraform(tmp_path, "validate", "-json")
    assert json.loads(done.stdout)["valid"], done.stdout


# ---- gcloud


@pytest.mark.skipif(not shutil.which("gcloud"), reason="there is no gcloud")
@pytest.mark.parametrize("service", ["cloudsql", "alloydb"])
def test_gcloud_understands_the_command(service: str, tmp_path: Path) -> None:
    """It reads its arguments first, and only then finds that nobody is logged in."""
    environment = {
        "CLOUDSDK_CONFIG": str(tmp_path),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
    }
    done = run(command(service), env=environment)
    assert done.returncode == 1 and "active account" in done.stderr, done.stderr
    wrong = run(
        [argument.replace("--database-flags", "--database-flag-s") for argument in command(service)], env=environment
    )
    assert wrong.returncode == 2 and "unrecognized" in wrong.stderr, "or else this proves nothing"
