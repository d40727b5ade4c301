# `make demo` runs it, `make test` and `make lint` check it, `make dev` serves what you edit.
# Needs Python 3.11 or later, and root or a few Debian packages, which it names.

SHELL := bash
PYTHON ?= python3
PORT ?= 8000
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# All tests of a file in one process, so that they share its servers. A process takes 7 s of CPU for itself.
PARALLEL := --dist loadfile --no-loadscope-reorder
unexport PYTHONDONTWRITEBYTECODE  # it would make each process of pytest rewrite all tests: 6 s of CPU
SHORT := and not long
PRODUCTION := DEBUG=0 HTTPS=1 SECRET_KEY=$$(python -c 'import secrets; print(secrets.token_urlsafe(64))')
PIP_INSTALL := pip install -q --disable-pip-version-check
WHEEL := robots/static/client
COMPILE := uv pip compile -q --universal --python-version 3.11 --generate-hashes --only-binary :all: \
	--emit-build-options --custom-compile-command 'make lock' $(LOCK)

.PHONY: demo dev test test-all lint audit lock schema pages films datasets-check lerobot-check chaos attack bench soak

demo: .venv/demo $(WHEEL)
	@PORT=$(PORT) deploy/demo.sh

dev: .venv/demo $(WHEEL)
	DEBUG=1 python manage.py migrate --verbosity 0
	DEBUG=1 exec python manage.py serve --reload --port $(PORT)

# What touches the database runs on both, if it may differ; the second run is everything else too. Both run at once, as
# many tests wait: one after the other left a third of two cores idle.
.PHONY: test-sqlite test-services
test: .venv/dev .venv/services $(WHEEL)
	$(MAKE) --jobs 2 --no-print-directory test-sqlite test-services

# `make test` has to take less than five minutes; this has every test, and draws new examples for Hypothesis.
test-all:
	$(MAKE) test SHORT= EXAMPLES="--hypothesis-profile new"

test-sqlite:
	env -u DATABASE_URL -u REDIS_URL pytest -m "database and not postgresql and not redis and not once $(SHORT)" $(EXAMPLES)

test-services:
	python -m tests.services pytest -n 4 $(PARALLEL) -m "not sqlite $(SHORT)" $(EXAMPLES)

# Every endpoint of /schema asked 150 times, and stories of several (`make test` asks three times, and
# not for the limits of each parameter).
schema: .venv/dev .venv/services
	SCHEMA_CASES=150 python -m tests.services pytest tests/test_schema.py

# Every kind of film that people have, uploaded and replayed in a browser; `make test` has one for each cause (4 minutes).
films: .venv/dev .venv/services
	python -m tests.services pytest tests/browser/film_matrix.py

# The pages in a browser, with all cases of their tests; `make test` has one for each cause (2 minutes).
pages: .venv/dev .venv/services
	ALL_PAGES=1 python -m tests.services pytest tests/browser

# Exports of a small fleet, read item by item by real lerobot, which is installed into .venv-lerobot (2 to 6 GB from PyPI).
datasets-check: .venv/dev
	tests/datasets_check/install.sh .venv-lerobot
	python -m tests.datasets_check .venv-lerobot/bin/python

# The unmodified scripts of lerobot 0.4.4 (Python 3.11) and 0.6.1 (Python 3.12) with the plugin and mock devices, and
# `teleop push` of what they recorded (8 minutes, and 4 to 8 GB from PyPI at the first time).
lerobot-check: .venv/dev
	tests/datasets_check/install.sh .venv-lerobot 0.6.1
	tests/datasets_check/install.sh .venv-lerobot-0.4.4 0.4.4
	python -m tests.lerobot_check .venv-lerobot/bin/python .venv-lerobot-0.4.4/bin/python

# Everything killed longer than a test may take (18 minutes; mounts small disks, so as root).
chaos: .venv/dev .venv/services
	EXPORT_KILLS=20 pytest -n 2 tests/chaos/long_form.py tests/chaos/long_form_databases.py \
		tests/chaos/long_form_cameras.py tests/chaos/deployed.py tests/test_export_kills.py

# Attacks as hard as they can be made, beside a robot whose acks and a /health/live whose answers are timed (10 minutes).
attack: .venv/dev .venv/services
	pytest tests/attacks/*.py

# Longer than a test may take: a frame's cost and its way to the ack beside the baseline, also while rows are locked and
# robots come (25 minutes); and whether it leaks (20 minutes, or SOAK_MINUTES=60). On a machine that does nothing else.
bench soak: .venv/dev .venv/services
	python -m tests.$@

lint: .venv/dev
	ruff check
	ruff format --check
	mypy
	$(PRODUCTION) python manage.py check --deploy --fail-level WARNING
	$(PRODUCTION) DATABASE_URL=sqlite://:memory: python manage.py makemigrations --check --dry-run

# What looks unsafe in the code, and which pinned versions have known vulnerabilities. .ci/audit is for a nightly job.
audit: .venv/dev
	.ci/audit

# Writes requirements*.txt from requirements*.in, with the hashes of all files. Versions that requirements*.in does not
# name stay where they can; `make lock LOCK=--upgrade` takes the newest.
lock: .venv/dev
	$(COMPILE) requirements.in -o requirements.txt
	$(COMPILE) requirements-dev.in -o requirements-dev.txt

# An empty file in .venv says that a step is done; it is done again when what it read has changed.
# pip compares each file with its hash. A folder has no hash: the client comes last, built by the setuptools installed before.
.venv/demo: requirements.txt client/pyproject.toml | .venv
	$(PIP_INSTALL) --require-hashes -r requirements.txt
	$(PIP_INSTALL) --no-deps --no-build-isolation -e ./client
	@touch $@

.venv/dev: requirements-dev.txt .venv/demo
	$(PIP_INSTALL) --require-hashes -r requirements-dev.txt
	@touch $@

# Robots download it. The time of a folder of modules changes when one is added or deleted.
$(WHEEL): deploy/build-client.sh $(wildcard client/*.* client/teleop_client client/teleop_client/*.* client/teleop_client/*/*.* client/lerobot_plugin/*.* client/lerobot_plugin/lerobot_robot_teleop/*.*) | .venv/demo
	deploy/build-client.sh

.venv:
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || deploy/apt-install.sh python3-venv
	$(PYTHON) -m venv .venv

.venv/services: Makefile | .venv
	@deploy/apt-install.sh postgresql redis-server nginx-light chromium-headless-shell pgbouncer systemd
	@touch $@
