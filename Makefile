# Everything runs through these words; each sets up what it needs.
.PHONY: help install demo test check bench docs clean

SHELL := bash
AI := .venv/bin/ai-therapist
# uv installs no bytecode: without a writable cache every process would compile its imports anew.
export PYTHONDONTWRITEBYTECODE :=

help:          ## list the targets
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

install:       ## set up .venv with everything a user needs
	@bash scripts/bootstrap.sh all

demo: install  ## run the whole arc on the sample sessions; ends with a table and the path of report.html
	@$(AI) demo --workspace demo-workspace

test:          ## set up, then check formatting, types and tests
	@bash scripts/bootstrap.sh dev
	@$(MAKE) --no-print-directory check
	.venv/bin/python -m pytest -m "not soak" -n auto --maxprocesses 4 --dist loadfile --cov --cov-report=term

check:         ## formatting, lint and strict types
	@bash scripts/bootstrap.sh dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

bench:         ## run every benchmark and rewrite the table in docs/benchmarks.md
	@bash scripts/bootstrap.sh dev
	.venv/bin/python benchmarks/run_all.py

docs:          ## rewrite the generated pages of docs/
	@bash scripts/bootstrap.sh dev
	.venv/bin/python scripts/write_docs.py

clean:         ## remove the environment, the demo and all caches
	rm -rf .venv demo-workspace .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
