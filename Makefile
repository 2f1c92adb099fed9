# Everything sets itself up: a fresh machine needs Python 3.11 or newer with venv and pip.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BENCH_VENV := .venv-bench
PPO_VENV := .venv-bench-ppo
WORKERS ?= 2
ARGS ?=

.PHONY: help install demo test check bench bench-language bench-control bench-compare bench-losses bench-growth
.PHONY: peers peers-ppo docs docs-figures clean

help:
	@echo "make demo     a small language model learns from people's judgements; writes runs/demo/report.html"
	@echo "make test     all the tests"
	@echo "make check    format, lint, types, architecture"
	@echo "make bench    both of the next two, without arguments, in set-ups of their own: about half an hour"
	@echo "make bench-language  how fast language models are trained and sampled beside TRL; writes bench/language.json"
	@echo "make bench-control  how fast control is learned beside Stable-Baselines3; writes bench/control.json"
	@echo "make bench-compare OLD=old.json NEW=new.json  the ratio of every figure of two such files"
	@echo "make bench-losses  every preference loss beside TRL's, on the same log-probabilities, as a table"
	@echo "make bench-growth  how time and memory grow with lengths, vocabulary, batch, model and data: some minutes; writes bench/growth"
	@echo "make docs     the course, docs/course, as Markdown and HTML; fails on a reference that leads nowhere"
	@echo "make docs-figures  the same, its experiments run again first: some minutes"
	@echo "make install  only the set-up: $(VENV) with Burnish in it"
	@echo "make clean    remove what building and testing leave behind, but neither $(VENV), $(BENCH_VENV), $(PPO_VENV) nor runs"

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || \
		{ echo "Burnish needs Python 3.11 or newer, and there is no $(PYTHON): install it, or name one with make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Burnish needs Python 3.11 or newer, not $$($(PYTHON) -V 2>&1): name another with make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "$(PYTHON) has no venv module: on Debian and Ubuntu, apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

demo: $(INSTALLED)
	$(BIN)/burnish demo --out runs/demo --resume --overwrite $(ARGS)

# One thread a worker: two workers with a thread for every core each would only be in each other's way. A file goes to one
# worker, so that what its tests share is made once. Compiled modules are kept, whatever the environment says: tests start
# many processes, and compiling the tests themselves is two thirds of collecting them.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

check: $(INSTALLED)
	$(BIN)/ruff format --check src tests bench
	$(BIN)/ruff check src tests bench
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py

# The peers never enter the environment that Burnish is developed and tested in.
bench: peers peers-ppo
	$(BENCH_VENV)/bin/python bench/language.py
	$(BENCH_VENV)/bin/python bench/control.py

bench-language: peers peers-ppo
	$(BENCH_VENV)/bin/python bench/language.py $(ARGS)

bench-control: peers
	$(BENCH_VENV)/bin/python bench/control.py $(ARGS)

bench-compare: $(INSTALLED)
	$(BIN)/python bench/compare.py $(OLD) $(NEW)

bench-losses: peers
	HF_HUB_OFFLINE=1 $(BENCH_VENV)/bin/python bench/trl_losses.py

bench-growth: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python bench/growth.py $(ARGS)

peers: $(INSTALLED)
	@$(BENCH_VENV)/bin/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m venv --clear $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[bench]'

# TRL's last version with PPO.
peers-ppo: $(INSTALLED)
	@$(PPO_VENV)/bin/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m venv --clear $(PPO_VENV)
	$(PPO_VENV)/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[bench-ppo]'

docs: $(INSTALLED)
	$(BIN)/python docs/build.py $(ARGS)

docs-figures: $(INSTALLED)
	$(BIN)/python docs/build.py --figures $(ARGS)

clean:
	rm -rf build dist src/*.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
