# make dev    set up, then start the whole system on this machine: real Postgres, Supabase Auth and Data API, a real
#             OAuth service, the API. No Docker. RESET=1 starts over; PORT, SUPABASE_PORT, DB_PORT, DEMO_PORT and
#             STATE_DIR let two systems run side by side.
# make test   set up, then every check and every test, against the same real parts.

PYTHON ?= python3

.PHONY: dev test check setup clean

dev: setup
	@exec .venv/bin/integrations dev --parent $$PPID

test: check
	@.venv/bin/pytest $(PYTEST_ARGS)

check: setup
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

setup:
	@$(PYTHON) scripts/bootstrap.py

clean:
	rm -rf .venv node_modules .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
