# What a person does daily. `make` alone lists it. POSIX sh and GNU make 3.81 (macOS) are enough.

PYTHON ?= python3
ONCE ?=
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.installed-requirements.lock
DEV := $(VENV)/.installed-requirements-dev.lock
PYTEST := $(BIN)/python -m pytest $(ARGS)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo run test test-fast test-chaos screenshots bench lint format lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(RUNTIME) ## Make .venv, install the locked dependencies, migrate the database of DATA_DIR
	@$(BIN)/python manage.py migrate --no-input --verbosity 0

demo: $(RUNTIME) ## Show the whole thing running (ONCE=1: check each row's outcome and end)
	@DATA_DIR="$${DATA_DIR:-var/demo}" exec $(BIN)/python -m config.demo $(if $(ONCE),--once)

run: $(RUNTIME) ## Migrate, then keep web (PORT), worker and scheduler running
	@exec $(BIN)/python -m config.run

# At once: two that compute, and one that mostly waits for worker processes. What runs behind is kept back and shown at the end.
test: $(DEV) ## All tests, on SQLite and on a real PostgreSQL and Redis
	@logs=$$(mktemp -d); trap 'rm -rf "$$logs"' EXIT; trap 'kill $$embedded $$waiting; exit 130' INT TERM; status=0; \
	FIRSTVALUE_TEST_BACKEND=sqlite $(PYTEST) --share=rest > "$$logs/sqlite" 2>&1 & embedded=$$!; \
	( trap 'kill "$$one"; exit 143' TERM; \
	for backend in sqlite postgres; do \
	  FIRSTVALUE_TEST_BACKEND=$$backend $(PYTEST) --share=processes & one=$$!; wait "$$one" || failed=1; \
	done; exit $${failed:-0} ) > "$$logs/processes" 2>&1 & waiting=$$!; \
	FIRSTVALUE_TEST_BACKEND=postgres $(PYTEST) --share=rest || status=1; \
	wait "$$embedded" || status=1; cat "$$logs/sqlite"; \
	wait "$$waiting" || status=1; cat "$$logs/processes"; exit $$status

test-fast: $(DEV) ## The tests on SQLite, without browser and worker processes
	@FIRSTVALUE_TEST_BACKEND=sqlite $(PYTEST) -m "not browser and not processes"

test-chaos: $(DEV) ## The whole chaos matrix on both databases, with its table (CHAOS_SEED=, CHAOS_ROWS=crash,vendor/*)
	@exec $(BIN)/python -m tests.chaos $(ARGS)

screenshots: $(DEV) ## Take the pictures of README.md and docs/ anew, from the demo in Chromium (PORT)
	@exec $(BIN)/python -m tests.support.screenshots

bench: $(DEV) ## The benchmarks, beside Celery and DBOS, in one table (BENCH_ONLY=, BENCH_OUT=path; see docs/performance.md)
	@exec $(BIN)/python -m tests.bench

# Nothing configured and a folder of its own, so that the outcome does not depend on this machine's settings.
lint: $(DEV) ## Format, lint, types, import contracts, missing migrations, deploy check
	@set -eu; \
	unset DATABASE_URL REDIS_URL SECRET_KEY FIELD_ENCRYPTION_KEYS ALLOWED_HOSTS DEBUG HTTPS PUBLIC_URL CONFIG_DIR; \
	folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; trap 'exit 130' INT TERM; export DATA_DIR="$$folder"; \
	echo "ruff format"; $(BIN)/ruff format --quiet --check .; \
	echo "ruff check"; $(BIN)/ruff check --quiet .; \
	echo "mypy"; $(BIN)/mypy --no-error-summary .; \
	echo "import contracts"; $(BIN)/lint-imports > "$$folder/contracts" || { cat "$$folder/contracts"; exit 1; }; \
	echo "missing migrations"; $(BIN)/python manage.py makemigrations --check --dry-run; \
	echo "deploy check"; \
	DATABASE_URL=postgres://nobody@127.0.0.1:1/unused REDIS_URL=redis://127.0.0.1:1/0 ALLOWED_HOSTS=firstvalue.example \
	SECRET_KEY=$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(64))') \
	FIELD_ENCRYPTION_KEYS=$$($(BIN)/python -c 'from cryptography.fernet import Fernet as F; print(F.generate_key().decode())') \
	$(BIN)/python manage.py check --deploy --fail-level WARNING

format: $(DEV) ## Format the code and apply the safe fixes
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format .

lock: ## Write both lock files anew (needs uv); no index's address gets in
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --custom-compile-command "make lock" pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --custom-compile-command "make lock" --constraints requirements.lock \
	  pyproject.toml --group dev -o requirements-dev.lock

clean: ## Remove the caches (.venv and var stay)
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# --- The environment: installs happen only when a lock changed --------------------------------------------------------

# A .venv that cannot run pip (interrupted, moved, its Python gone) is made anew.
define ensure_venv
	@if ! $(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1; then \
	  found=; \
	  for candidate in "$(PYTHON)" python3.14 python3.13 python3.12 python3.11; do \
	    if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1; then \
	      found=$$candidate; break; \
	    fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "Firstvalue needs Python 3.11 or newer; $(PYTHON) is $$("$(PYTHON)" --version 2>&1 | head -n 1)." >&2; \
	    echo "Install one, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; \
	    exit 1; \
	  fi; \
	  echo "Making $(VENV) with $$found ($$("$$found" --version))"; \
	  "$$found" -m venv --clear $(VENV); \
	fi
endef

# --no-deps: a lock names everything (`pip check` tells when it does not), while pip's own resolution would look for a newer version
# of whatever is asked for with an extra, and refuse it for want of a hash.
$(RUNTIME): requirements.lock
	$(ensure_venv)
	@echo "Installing $<"
	@$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r $<
	@$(BIN)/python -m pip check > /dev/null || $(BIN)/python -m pip check
	@touch $@

# A superset of the runtime's lock, which therefore counts as installed too.
$(DEV): requirements-dev.lock requirements.lock
	$(ensure_venv)
	@echo "Installing $<"
	@$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r $<
	@$(BIN)/python -m pip check > /dev/null || $(BIN)/python -m pip check
	@touch $(RUNTIME) $@
