PYTHON ?= python3
BIN := .venv/bin
MODELS := RNN-LN-FW GRU-LN RNN-LN CONTROL

.PHONY: setup extras browser demo test kills fuzz check docs clean

setup: .venv/.ready

.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "fastweights needs Python 3.11 or newer; name one: make PYTHON=python3.12" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

extras: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,triton,cluster,onnx,tensorboard,rl,speech]'

browser: setup
	command -v chromium >/dev/null || { apt-get -qq update && apt-get -qq install -y chromium; }
	command -v npm >/dev/null || { apt-get -qq update && apt-get -qq install -y npm; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,browser]'
	npm ci --prefix web --ignore-scripts --silent

demo: setup
	$(BIN)/fastweights train $(MODELS) --run runs/demo --resume
	$(BIN)/fastweights plot runs/demo
	$(BIN)/fastweights sample RNN-LN-FW 'g5o8k1??g' 'g5o8k1??k' 'c9k8j3??c' --run runs/demo
	$(BIN)/fastweights explore runs/demo

fuzz: setup
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz.py --count 100000

test: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal

kills: setup
	FASTWEIGHTS_KILLS=200 $(BIN)/python -m pytest tests/test_kills.py -n 2 --dist worksteal

check: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,check]'
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	@test ! -x web/node_modules/.bin/tsc || npm run check --prefix web --silent

docs: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,docs]'
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --builder html docs docs/_build

clean:
	rm -rf .venv docs/_build
