# Entry points. Each is one line; what needs more is Python in tools/.
.DEFAULT_GOAL := help
.PHONY: help setup run build check test test-long bench counts soak soak-kills docs fuzz

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## install what is locked and build the native core into .venv
	@python3 tools/setup.py

run: setup  ## set up and start a broker on 127.0.0.1:9092
	@.venv/bin/automq server

build:  ## rebuild the native core
	@python3 tools/setup.py --build

check: setup  ## format, lint, types, layers
	@.venv/bin/python tools/check.py

test: setup  ## set up and run the tests (under 10 minutes)
	@.venv/bin/python tools/run_tests.py

test-long: setup  ## foreign clients, crash and soak tests
	@.venv/bin/python tools/run_tests.py --long

bench: setup  ## measure beside Apache Kafka (ONLY=small, ARGS="--quick")
	@.venv/bin/python -m benches --only "$(ONLY)" $(ARGS)

counts: setup  ## count the instructions of fixed native work, beside what is kept (ARGS=--keep)
	@.venv/bin/python -m benches.counts $(ARGS)

soak-kills: setup  ## an hour with each log of produce, trim, topic deletion, merging and 30 kills; the store must be in order afterwards
	@.venv/bin/python -m pytest -q -m long tests/crash/test_soak.py --timeout 7200

soak: setup  ## 30 minutes at full speed: memory and latency over time (ARGS="--minutes 5")
	@.venv/bin/python -m benches.soak $(ARGS)

docs: setup  ## regenerate what is generated
	@.venv/bin/python tools/make_docs.py

fuzz: setup  ## feed damaged bytes to every parser for a while
	@.venv/bin/python tools/fuzz.py

sim: setup  ## play random seeds of the simulation for a minute; SEED=n plays one with its trace, SHRINK=1 shrinks it
	@.venv/bin/python tools/simulate.py $(if $(SEED),--seed $(SEED) $(if $(SHRINK),--shrink),--seconds $(or $(SECONDS),60))
