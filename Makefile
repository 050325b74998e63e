# Markcut. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUNDLE ?= artifacts/demo
.DEFAULT_GOAL := help
.PHONY: help setup demo serve test check bundle accuracy clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# the light part: everything the demo and production need, no torch
$(VENV)/.light: pyproject.toml client/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.5"
	$(BIN)/uv pip install --quiet --python $(BIN)/python -e ".[onnxruntime,openvino]" -e ./client
	@touch $@

# everything: torch, the upstream projects, the test tools
$(VENV)/.full: $(VENV)/.light
	$(BIN)/uv pip install --quiet --python $(BIN)/python \
	  -e ".[onnxruntime,openvino,training,benchmarks,dev]" -e ./client
	@touch $@

setup: $(VENV)/.full ## make the whole environment in .venv (torch and test tools included)

demo: $(VENV)/.light ## find, explain and cut out the marked objects of the sample pictures
	$(BIN)/markcut extract examples --bundle $(BUNDLE) --out out/demo --overlay \
	  --sheet out/demo/sheet.png --overwrite

serve: $(VENV)/.light ## a real Triton server with the demo bundle on loopback (installed into .triton)
	$(BIN)/python -m serving --bundle $(BUNDLE)

test: $(VENV)/.full check ## every check and test that can run here
	$(BIN)/python -m pytest

check: $(VENV)/.full ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bundle: $(VENV)/.full ## export the demo checkpoints to artifacts/demo, verified against torch
	$(BIN)/python -m export bundle --name demo --clipseg checkpoints/demo/clipseg \
	  --yolo checkpoints/demo/yolo11n-seg-marks.pt --sam2 checkpoints/demo/sam2/model.pt \
	  --weights-storage fp16 --default mark_threshold=0.35 --out $(BUNDLE)

accuracy: $(VENV)/.full ## how well the demo bundle finds marks and objects in held-out scenes
	$(BIN)/python -m benchmarks accuracy --bundle $(BUNDLE) --out out/accuracy

clean: ## remove the environment and everything generated
	rm -rf $(VENV) .triton out runs .pytest_cache .mypy_cache .ruff_cache
