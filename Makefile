# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Every target sets up first what it needs; see tools/setup.
PYTHON_IN_VENV := .venv/bin/python
.DEFAULT_GOAL := help
# Some images set these. Then Python compiles everything again in each process, and reads a module that Ansible sends
# through a pipe byte by byte: both are a good part of what everything here takes.
unexport PYTHONDONTWRITEBYTECODE PYTHONUNBUFFERED
.PHONY: help setup demo drill-full test lint unit integration molecule sanity docs site build bench clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):  *## /  make \1\t/p' Makefile | expand -t 20

setup:  ## make .venv and the path under which Ansible finds this checkout
	@tools/setup dev

demo:  ## harden a throwaway PostgreSQL and show before and after
	@tools/setup demo
	@$(PYTHON_IN_VENV) demo/demo.py

drill-full:  ## every cell of the drill on the real timers of 60/10/6, before and after; takes three minutes
	@tools/setup demo
	@$(PYTHON_IN_VENV) demo/drill_full.py

test:  ## everything; some of it with STAGES="unit lint", their names with STAGES=list
	@tools/setup dev
	@$(PYTHON_IN_VENV) tools/stages.py $(STAGES)

lint:  ## ruff, mypy, shellcheck, ansible-lint
unit:  ## the rooms by themselves, with their coverage
integration:  ## against real PostgreSQL servers
molecule:  ## machines with systemd in containers, every profile and every major
sanity:  ## ansible-test sanity
docs:  ## ansible-doc renders everything; antsibull-docs; the changelog; the documentation site
build:  ## the tarball for ansible-galaxy, installed elsewhere to prove it, and read as Galaxy reads it
lint unit integration molecule sanity docs build:
	@tools/setup dev
	@$(PYTHON_IN_VENV) tools/stages.py --verbose $@

site:  ## the documentation site, as HTML
	@tools/setup dev
	@$(PYTHON_IN_VENV) tools/site.py

bench:  ## this collection beside the generic modules and the floor of Ansible itself
	@tools/setup dev
	@bench/bench.sh $(BENCH)

clean:  ## remove everything that the other targets made
	rm -rf .venv .cache .ansible .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/output
	rm -f pgharden-connection-*.tar.gz
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
