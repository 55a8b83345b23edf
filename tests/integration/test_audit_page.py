# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of an audit in a real browser, headless: what a reader sees, sorts, filters and opens, by keyboard too."""

from __future__ import annotations

import os
import shutil
import typing as t
from pathlib import Path

import pytest
from axe_selenium_python import Axe
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from support import fleets

from ansible_collections.pgharden.connection.plugins.plugin_utils import _audit_page

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
#: Where a person can look at what the tests looked at.
ARTIFACTS = Path(__file__).resolve().parents[2] / ".cache" / "screenshots"
SCHEMES = ("light", "dark")

pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER) and not os.environ.get("CI"), reason="needs chromium and chromium-driver"
)


@pytest.fixture(scope="module")
def browser() -> t.Iterator[t.Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER or "chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER or "chromedriver"))
    yield driver
    driver.quit()


SOME = fleets.report(
    [
        fleets.host("db10", version="9.6.1"),
        fleets.host("db9", version="13.2", timelines=fleets.DEFAULT, findings=[fleets.finding("PGC405")]),
        fleets.host("db2", timelines=fleets.HALFWAY, findings=[fleets.finding("PGC401"), fleets.finding("PGC406")]),
        fleets.host("lost", status="failed", reason="unreachable <b>now</b>", version=None, timelines=[], wanted=[]),
        fleets.host(
            "moved",
            before=fleets.DEFAULT,
            drift=fleets.drift(),
            stale_sessions=4,
            ignored=[{**fleets.finding("PGC402"), "reason": "accepted by the </script> board"}],
            drill={
                "time": "2026-11-20T06:00:00Z",
                "cells": [
                    {"phase": "idle", "fault": "peer_vanished", "bound": 80.0, "measured": 71.5, "verdict": "kept"}
                ],
            },
            diagnosis={"time": "2026-11-21T06:00:00Z", "causes": [{"cause": "middlebox_reset", "losses": 7}]},
        ),
    ]
)


@pytest.fixture
def page(browser: t.Any, tmp_path: Path) -> t.Any:
    return opened(browser, tmp_path, SOME)


def opened(browser: t.Any, tmp_path: Path, report: dict[str, t.Any]) -> t.Any:
    path = tmp_path / "audit.html"
    path.write_text(_audit_page.page(report), encoding="utf-8")
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # what was before
    browser.get(path.as_uri())
    return browser


def hosts(page: t.Any) -> list[str]:
    return [one.text for one in page.find_elements(By.CSS_SELECTOR, "#hosts tbody .host")]


def column(page: t.Any, title: str) -> t.Any:
    return next(one for one in page.find_elements(By.CSS_SELECTOR, "#hosts thead button") if one.text.startswith(title))


def detail(page: t.Any, host: str) -> str:
    next(one for one in page.find_elements(By.CSS_SELECTOR, "#hosts .host") if one.text == host).click()
    return str(page.find_element(By.CSS_SELECTOR, ".detail").text)


def test_the_worst_come_first_and_columns_sort_both_ways(page: t.Any) -> None:
    assert hosts(page) == ["lost", "db9", "db2", "db10", "moved"]
    column(page, "host").click()
    assert hosts(page) == ["db2", "db9", "db10", "lost", "moved"]  # numbers as numbers
    column(page, "host").click()
    assert hosts(page) == ["moved", "lost", "db10", "db9", "db2"]
    column(page, "executing").click()
    assert hosts(page)[0] == "lost" and set(hosts(page)[-2:]) == {"db9", "db2"}  # never is the longest
    marks = {one.get_attribute("aria-sort") for one in page.find_elements(By.CSS_SELECTOR, "#hosts th[scope=col]")}
    assert marks == {"ascending", "none"}


def test_filters_narrow_the_table(page: t.Any) -> None:
    text = page.find_element(By.ID, "text")
    for typed, expected in (("db", {"db9", "db2", "db10"}), ("pgc405", {"db9"}), ("13.2", {"db9"}), ("nothing", set())):
        text.clear()
        text.send_keys(typed)
        assert set(hosts(page)) == expected
    text.send_keys(Keys.CONTROL, "a", Keys.DELETE)
    page.find_element(By.ID, "drifted").click()
    assert hosts(page) == ["moved"]
    assert page.find_element(By.ID, "count").text == "1 of 5 hosts"
    page.find_element(By.ID, "drifted").click()
    page.find_element(By.CSS_SELECTOR, "#standing option[value=warning]").click()
    assert hosts(page) == ["db2"]


def test_a_host_opens_with_all_that_is_known_of_it(page: t.Any) -> None:
    text = detail(page, "moved")
    for part in (
        "PGC402",
        "accepted by the </script> board",
        "tcp_user_timeout is 0 instead of 71s (postgresql.auto.conf:7)",
        "promised 80 s, measured 72 s: kept",
        "middlebox_reset: 7",
    ):
        assert part in text
    # two bars a phase: before, in force; and the path's limit
    assert len(page.find_elements(By.CSS_SELECTOR, ".detail .bar")) == 2 * len(fleets.HARDENED)
    assert "path limit 5 min 50 s" in text
    assert "never" in text  # a statement of a lost client, before
    assert "unreachable <b>now</b>" in detail(page, "lost")


def test_bars_are_drawn_to_scale(page: t.Any) -> None:
    detail(page, "db9")
    ends = [float(one.get_attribute("x2")) for one in page.find_elements(By.CSS_SELECTOR, ".detail .bar")]
    idle_now, idle_wanted = ends[:2]
    ticks = {
        one.text: float(one.get_attribute("x"))
        for one in page.find_elements(By.CSS_SELECTOR, ".detail svg text[text-anchor=middle]")
    }
    assert (
        ticks["1 min"] < idle_wanted < ticks["10 min"] < ticks["1 h"] < idle_now < ticks["1 d"]
    )  # 71 s and 2 h 11 min


def test_the_keyboard_is_enough(page: t.Any) -> None:
    page.find_element(By.ID, "text").send_keys("db9", Keys.TAB)
    order = []
    for _number in range(30):
        focused = page.switch_to.active_element
        order.append(focused.text or focused.get_attribute("id"))
        if focused.text == "db9":
            focused.send_keys(Keys.ENTER)
            break
        focused.send_keys(Keys.TAB)
    assert "PGC405" in page.find_element(By.CSS_SELECTOR, ".detail").text, order
    assert page.switch_to.active_element.text == "db9"
    assert page.switch_to.active_element.get_attribute("aria-expanded") == "true"


def test_a_rule_of_the_fleet_leads_to_its_page_and_to_its_hosts(page: t.Any) -> None:
    rules = page.find_elements(By.CSS_SELECTOR, "#rules tbody tr")
    assert [one.text.split()[0] for one in rules] == ["PGC405", "PGC401", "PGC406"]
    pages = [one.find_element(By.CSS_SELECTOR, "a").get_attribute("href").rpartition("/")[2] for one in rules]
    assert pages == ["PGC405.md", "PGC401.md", "PGC406.md"]
    rules[0].find_element(By.CSS_SELECTOR, "button").click()
    assert hosts(page) == ["db9"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_can_be_read_in_light_and_dark(page: t.Any, scheme: str) -> None:
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    detail(page, "db2")
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    page.save_screenshot(str(ARTIFACTS / f"audit-{scheme}.png"))
    background = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[scheme]
    axe = Axe(page)
    axe.inject()
    violations = axe.run()["violations"]
    assert not violations, axe.report(violations)


def test_it_prints_in_black_on_white_without_its_controls(page: t.Any) -> None:
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert not page.find_element(By.ID, "filters").is_displayed()
        assert page.execute_script("return getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_nothing_is_asked_of_any_network_and_nothing_goes_wrong(page: t.Any) -> None:
    detail(page, "moved")
    assert page.get_log("browser") == []
    asked = [entry["message"] for entry in page.get_log("performance") if "requestWillBeSent" in entry["message"]]
    assert asked and all('"url":"file:' in one for one in asked)


def test_a_narrow_screen_is_enough(browser: t.Any, tmp_path: Path) -> None:
    evidence = "a_name_without_any_place_to_break_it_" * 4
    nasty = fleets.host("db1", findings=[{**fleets.finding("PGC405"), "evidence": evidence}], version="17.6 (Debian)")
    page = opened(browser, tmp_path, fleets.report([nasty, fleets.host("db2", drift=fleets.drift())]))
    size = {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        detail(page, "db1")
        assert page.execute_script("return document.documentElement.scrollWidth") <= 360
        for one in page.find_elements(By.CSS_SELECTOR, ".stay"):
            assert one.rect["x"] >= 0 and one.rect["x"] + one.rect["width"] <= 360, one.text
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        page.save_screenshot(str(ARTIFACTS / "audit-narrow.png"))
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_ten_thousand_hosts_stay_usable(browser: t.Any, tmp_path: Path) -> None:
    page = opened(browser, tmp_path, fleets.fleet(10_000))
    assert page.find_element(By.ID, "count").text == "10000 of 10000 hosts"
    assert len(hosts(page)) == 100
    next(one for one in page.find_elements(By.CSS_SELECTOR, "#pages button") if one.text == "next").click()
    assert page.find_element(By.ID, "pages").text.split() == ["previous", "page", "2", "of", "100", "next"]
    page.find_element(By.ID, "text").send_keys("db09999")
    assert hosts(page) == ["db09999.example.com"]
