# make demo, make test: all that is needed first is Python 3.11 or newer, pip and make.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: demo test cuda-headers fuzz lint docs site clean

$(VENV)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "clockwork-onnx needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[flow]'
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -e '.[flow,test,dev]'
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -e '.[docs]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/clockwork demo -o demo-out

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# The headers that tests/cuda builds stub CUDA libraries with; needs g++ and no GPU.
$(VENV)/cuda-headers/.installed: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --no-deps --target $(VENV)/cuda-headers \
	    'nvidia-cuda-runtime>=13,<14' 'nvidia-cuda-crt>=13,<14'
	touch $@

cuda-headers: $(VENV)/cuda-headers/.installed

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: $(VENV)/.installed-test
	$(BIN)/python -m tests.fuzz.run $(FUZZ_ARGS)

docs: $(VENV)/.installed-test
	$(BIN)/python -m tools.layers_page --write docs/layers.md
	$(BIN)/python -m tools.forks_page --write docs/forks.md

site: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

clean:
	rm -rf demo-out site .pytest_cache .mypy_cache .ruff_cache build *.egg-info
