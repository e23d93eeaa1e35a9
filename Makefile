# Five commands; each installs what it lacks and does nothing twice.
#   make demo   build, fetch the default model, serve the chat page (PORT=8080, NO_SERVE=1 to stop before serving)
#   make test   every check and test; the last line is `N passed, N failed` (ALLOW_NO_GPU=1 without an adapter)
#   make proof  what takes long, last line as above (ONLY=name for a step, SECONDS=600 for each fuzz target)
#   make bench  the benchmark table, also as target/bench.json (ONLY=prefix for a part)
#   make build  target/release/tablm, pkg/dist/, www/dist/

SHELL := /bin/bash
PORT ?= 8080

.PHONY: demo test proof bench build
.NOTPARALLEL:

demo:
	@.ci/setup.sh rust wasm-std wasm-bindgen npm model
	@.ci/build.sh package page
ifeq ($(NO_SERVE),)
	@node www/serve.mjs --port "$(PORT)"
else
	@echo "demo: built; 'make demo' serves it on http://127.0.0.1:$(PORT)"
endif

test:
	@node .ci/test.mjs

proof:
	@FUZZ_SECONDS="$(SECONDS)" node .ci/test.mjs --proof $(ONLY)

bench:
	@.ci/setup.sh rust wasm-std wasm-bindgen npm model vocabularies text python chromium vulkan
	@.ci/build.sh native package page compiler
	@node tests/bench/run.mjs $(if $(ONLY),--only "$(ONLY)")

build:
	@.ci/setup.sh rust wasm-std wasm-bindgen npm model
	@.ci/build.sh native package page
