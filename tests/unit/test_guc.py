# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of values in the server's units. The spellings were compared with PostgreSQL 13, 15 and 18."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils import _duration, _guc
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._guc import Guc

INT = "2147483647"
SECONDS = Guc("tcp_keepalives_idle", "integer", "s", min_val="0", max_val=INT)
MILLISECONDS = Guc("tcp_user_timeout", "integer", "ms", min_val="0", max_val=INT)
COUNT = Guc("tcp_keepalives_count", "integer", min_val="0", max_val=INT)
BLOCKS = Guc("temp_buffers", "integer", "8kB", min_val="100", max_val="1073741823")
KILOBYTES = Guc("work_mem", "integer", "kB", min_val="64", max_val=INT)
DELAY = Guc("vacuum_cost_delay", "real", "ms", min_val="0", max_val="100")
COST = Guc("seq_page_cost", "real", min_val="0", max_val="1.79769e+308")
BOOLEAN = Guc("log_disconnections", "bool")
CHOICE = Guc("password_encryption", "enum", enumvals=("md5", "scram-sha-256"))
COMMIT = Guc("synchronous_commit", "enum", enumvals=("local", "remote_write", "remote_apply", "on", "off"))
TEXT = Guc("search_path", "string")


@pytest.mark.parametrize(
    ("guc", "value", "canonical"),
    [
        *[(SECONDS, value, "60") for value in (60, "60", "60s", " 60 s ", "1min", "1.0min", "60000ms", "+60", "6e1")],
        *[(SECONDS, value, "90") for value in (90, "1.5min")],
        *[(MILLISECONDS, value, "75000") for value in (75000, "75000", "75s", "1.25min", "7.5e4", "0x124F8")],
        *[(SECONDS, value, "0") for value in (0, "0", "0s", "-0", "0.4", "499ms")],
        # Halves go to the even neighbour, and fractions to whole numbers of the next smaller unit.
        (SECONDS, "2.5", "2"),
        (SECONDS, "1500ms", "2"),
        (SECONDS, "1.3d", "111600"),
        (SECONDS, "0.0123h", "60"),
        (SECONDS, "0.025h", "120"),
        (SECONDS, "1d", "86400"),
        (MILLISECONDS, "1500us", "2"),
        (MILLISECONDS, INT, INT),
        (COUNT, "010", "8"),
        (COUNT, "0X1f", "31"),
        (COUNT, "3.", "3"),
        (COUNT, ".6e1", "6"),
        (KILOBYTES, "4MB", "4096"),
        (KILOBYTES, "1GB", "1048576"),
        (KILOBYTES, "65536B", "64"),
        (KILOBYTES, "30.1GB", "31561728"),
        (BLOCKS, "8MB", "1024"),
        (BLOCKS, "1024", "1024"),
        (BLOCKS, "1GB", "131072"),
        (DELAY, "2", "2"),
        (DELAY, "2.50", "2.5"),
        (DELAY, "500us", "0.5"),
        (DELAY, 0.1, "0.1"),
        (DELAY, "0.1s", "100"),
        (COST, "1e3", "1000"),
        (COST, "0x10", "16"),
        *[(BOOLEAN, value, "on") for value in (True, "on", "ON", "true", "yes", "1", 1, "t", "tru", "y")],
        *[(BOOLEAN, value, "off") for value in (False, "off", "False", "no", "0", 0, "f", "n", "of")],
        (CHOICE, "SCRAM-SHA-256", "scram-sha-256"),
        (COMMIT, True, "on"),
        (COMMIT, "yes", "on"),
        (COMMIT, "0", "off"),
        (COMMIT, "local", "local"),
        (TEXT, ' "$user", public', ' "$user", public'),
    ],
)
def test_every_spelling_is_read_as_the_server_reads_it(guc: Guc, value: t.Any, canonical: str) -> None:
    assert _guc.canonical(guc, value) == canonical


@pytest.mark.parametrize(
    ("guc", "value", "remedy"),
    [
        (SECONDS, "-1", f"Write a whole number in s (or with a unit) from 0 to {INT}."),
        (SECONDS, "2147483648", f"from 0 to {INT}"),
        (MILLISECONDS, "25d", f"from 0 to {INT}"),
        (MILLISECONDS, "1e400", "a whole number"),
        (MILLISECONDS, "-1e400", "a whole number"),
        (SECONDS, "60 sec", "a whole number in s"),
        (SECONDS, "60S", "a whole number in s"),
        (SECONDS, "60kB", "a whole number in s"),
        (KILOBYTES, "1min", "a whole number in kB"),
        (KILOBYTES, "1kb", "a whole number in kB"),
        (COUNT, "3s", f"Write a whole number from 0 to {INT}."),
        (COUNT, "", "a whole number"),
        (COUNT, "three", "a whole number"),
        (COUNT, "1_000", "a whole number"),
        (COUNT, "09", "a whole number"),
        (COUNT, "٣", "a whole number"),
        (COUNT, True, "a whole number"),
        (BLOCKS, "8kB", "from 100 to 1073741823"),
        (DELAY, "101", "Write a number in ms (or with a unit) from 0 to 100."),
        (COST, "1e309", "Write a number from 0"),
        (COST, "NaN", "Write a number from 0"),
        (BOOLEAN, "o", "Write on or off."),
        (BOOLEAN, " on", "Write on or off."),
        (BOOLEAN, "2", "Write on or off."),
        (BOOLEAN, "enabled", "Write on or off."),
        (BOOLEAN, "", "Write on or off."),
        (CHOICE, "on", "Write one of md5, scram-sha-256."),
        (COMMIT, "sometimes", "Write one of local, remote_write, remote_apply, on, off."),
    ],
)
def test_what_the_server_would_refuse_is_refused_with_what_it_takes(guc: Guc, value: t.Any, remedy: str) -> None:
    with pytest.raises(Failure) as caught:
        _guc.canonical(guc, value)
    assert caught.value.code == "bad_value"
    assert guc.name in caught.value.asked
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("guc", "value", "shown"),
    [
        (SECONDS, "75", "75s"),
        (MILLISECONDS, "75000", "75s"),
        (MILLISECONDS, "75001", "75001ms"),
        (SECONDS, "0", "0"),
        (SECONDS, None, None),
        (COUNT, "3", "3"),
        (KILOBYTES, "4096", "4096kB"),
        (BLOCKS, "1024", "1024 x 8kB"),
        (DELAY, "2.5", "2.5"),
        (BOOLEAN, "on", "on"),
    ],
)
def test_values_are_shown_with_their_unit(guc: Guc, value: str | None, shown: str | None) -> None:
    assert _guc.shown(guc, value) == shown


@given(st.sampled_from([SECONDS, MILLISECONDS]), st.integers(0, _duration.LONGEST // 1000))
def test_what_is_shown_is_read_back(guc: Guc, number: int) -> None:
    shown = _guc.shown(guc, str(number))
    assert _guc.canonical(guc, shown) == str(number)


@given(st.integers(0, _duration.LONGEST))
def test_a_planned_duration_means_the_same_to_the_server(milliseconds: int) -> None:
    assert _guc.canonical(MILLISECONDS, _duration.spell(milliseconds)) == str(milliseconds)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("75s", "75s", True),
        ("75s", "75000ms", True),
        ("60", "60", True),
        ("60", "60s", False),  # seconds for one parameter, milliseconds for the next
        ("0", "off", True),
        ("local", "remote_apply", False),
    ],
)
def test_texts_are_the_same_only_where_no_server_is_needed_to_tell(one: str, other: str, same: bool) -> None:
    assert [_guc.same_text(*pair) for pair in ((one, other), (other, one))] == [same, same]


def test_a_parameter_is_what_pg_settings_says() -> None:
    row = {
        "name": "work_mem",
        "setting": "4096",
        "vartype": "integer",
        "unit": "kB",
        "context": "user",
        "min_val": "64",
        "max_val": INT,
        "enumvals": None,
        "boot_val": "4096",
    }
    guc = Guc.of(row)
    assert (guc.name, guc.unit, guc.enumvals, guc.boot_val) == ("work_mem", "kB", (), "4096")
    assert Guc.of({**row, "vartype": "enum", "enumvals": ["on", "off"]}).enumvals == ("on", "off")


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "on"), (False, "off"), (5, "5"), ("5s", "5s"), (1.5, "1.5"), (["a", 1, True], "a, 1, on")],
)
def test_a_playbooks_value_as_the_server_spells_it(value: t.Any, text: str) -> None:
    assert _guc.text(value) == text


@pytest.mark.parametrize("value", [None, {"idle": 60}])
def test_what_is_no_value_at_all_is_refused(value: t.Any) -> None:
    with pytest.raises(Failure) as caught:
        _guc.text(value)
    assert (caught.value.code, caught.value.remedy) == ("bad_value", "Write a text, number or list.")
