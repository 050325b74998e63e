# Markcut. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUNDLE ?= artifacts/demo
PUBLISHED := out/published
.DEFAULT_GOAL := help
.PHONY: help setup demo serve test check bundle accuracy bench bench-full clean

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
	  --weights-storage fp16 --defaults checkpoints/demo/defaults.json \
	  --belief checkpoints/demo/belief.json --out $(BUNDLE)

accuracy: $(VENV)/.full ## how well the demo bundle finds marks and objects in held-out scenes
	$(BIN)/python -m benchmarks accuracy --bundle $(BUNDLE) --out out/accuracy

bench: $(VENV)/.full ## every way of running the chain side by side: planned for 15 minutes on 2 idle cores
	$(BIN)/python -m benchmarks latency --bundle $(BUNDLE) --out out/latency

$(PUBLISHED)/bundle/manifest.json: $(VENV)/.full $(wildcard export/*.py)
	rm -rf $(PUBLISHED) && mkdir -p $(PUBLISHED)/clipseg $(PUBLISHED)/sam2
	$(BIN)/python -m export.published_checkpoints clipseg-rd64 $(PUBLISHED)/clipseg
	$(BIN)/python -m export.published_checkpoints sam2.1-hiera-tiny $(PUBLISHED)/sam2
	cp $(PUBLISHED)/sam2/models--*/snapshots/*/sam2.1_hiera_tiny.pt $(PUBLISHED)/
	$(BIN)/python -m export bundle --name published --clipseg $(PUBLISHED)/clipseg \
	  --yolo checkpoints/demo/yolo11n-seg-marks.pt --sam2 $(PUBLISHED)/sam2.1_hiera_tiny.pt \
	  --out $(PUBLISHED)/bundle

# random weights give meaningless masks, so nothing is asked of them there (fidelity proves the graphs)
bench-full: $(PUBLISHED)/bundle/manifest.json ## the same at full size, demo and published sizes (hours)
	-$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps samexporter
	$(BIN)/python -m benchmarks latency --size full --bundle $(BUNDLE) --out out/latency-full
	$(BIN)/python -m benchmarks latency --size full --bundle $(PUBLISHED)/bundle --least-iou 0 \
	  --clipseg $(PUBLISHED)/clipseg --yolo checkpoints/demo/yolo11n-seg-marks.pt \
	  --sam2 $(PUBLISHED)/sam2.1_hiera_tiny.pt --out out/latency-published

clean: ## remove the environment and everything generated
	rm -rf $(VENV) .triton out runs .pytest_cache .mypy_cache .ruff_cache
