# make demo and make test do all of their own set-up; PYTHON=python3.10 takes another interpreter.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
EXTRAS := data,hf,lm,phones,plot,pretrain,study,test
# Without hf: transformers needs newer versions of libraries that we share.
EXTRAS_LOWEST := data,lm,phones,plot,pretrain,study,test

.PHONY: help venv demo test test-slow test-gpu test-lowest lint bench clean
.DELETE_ON_ERROR:

help:  ## show this help
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.installed  ## finetune dense, MPI and PARP on ten minutes of speech, evaluate, print a table
	$(BIN)/python benchmarks/demo.py

test: $(VENV)/.installed  ## run the tests, a process for each core
	$(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

test-slow: $(VENV)/.installed  ## run the tests that take minutes each
	$(BIN)/pytest -m slow

test-gpu: $(VENV)/.installed  ## run the tests that need an NVIDIA GPU
	$(BIN)/pytest -m gpu

test-lowest:  ## run the tests with the lowest versions that setup.py allows, in .venv-lowest/
	$(PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/pip install --quiet "pip<24.1" "setuptools>=64" wheel
	grep -oE '"[a-zA-Z_-]+>=[0-9.]+' setup.py | sed 's/"//; s/>=/==/' > .venv-lowest/lowest.txt
	.venv-lowest/bin/pip install --constraint .venv-lowest/lowest.txt --no-build-isolation ".[$(EXTRAS_LOWEST)]"
	rm -rf build *.egg-info
	.venv-lowest/bin/pytest

lint: $(VENV)/.installed  ## check the style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(VENV)/.installed  ## measure speed and memory against named peers
	$(BIN)/python benchmarks/run.py

venv: $(VENV)/.installed  ## make the environment: .venv/

clean:  ## remove the environment and what the demo and the bench made
	rm -rf $(VENV) build *.egg-info runs/demo runs/bench

# The interpreter that .venv was made with; asking for another one makes it anew.
WANTED := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
MADE   := $(shell cat $(VENV)/.python 2>/dev/null)
ifneq ($(WANTED),$(MADE))
.PHONY: $(VENV)/.dependencies
endif

# Modules are compiled beside pip's work, and the rest on all cores; pip compiles them one by one. Left out is what
# hardly anybody imports. Some files are templates, not Python.
COMPILE := $(BIN)/python -m compileall -qq -x '/(tests|transformers/models)/' $(VENV)/lib
# pip from 24.1 on refuses the metadata of omegaconf 2.0, which fairseq 0.12.2 needs below Python 3.11.
$(VENV)/.dependencies: constraints.txt setup.py
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 10) <= sys.version_info[:2] <= (3, 12) else "parp_fairseq needs Python 3.10 to 3.12, found $(WANTED): make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet "pip<24.1" "setuptools>=64" wheel
	$(BIN)/pip install --no-compile --constraint constraints.txt torch
	$(COMPILE) & \
	$(BIN)/pip install --no-compile --constraint constraints.txt --no-build-isolation ".[$(EXTRAS)]" && wait
	-$(COMPILE) -j 0
	echo $(WANTED) > $(VENV)/.python
	touch $@

# Installed, not editable: fairseq finds an installed user_dir by its bare name from any folder.
SOURCES := $(shell find parp_fairseq recipes manifests -name '*.py' -o -name '*.yaml')
$(VENV)/.installed: $(VENV)/.dependencies $(SOURCES) README.md
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --force-reinstall .
	rm -rf build *.egg-info
	touch $@
