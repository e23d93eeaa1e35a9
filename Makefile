# Commands; each installs what is missing and skips what is up to date.
#   make demo   builds the chat page, fetches the default model and serves the page
#               (PORT=8080; NO_SERVE=1 builds without serving)
#   make test   runs all checks and tests; the last line is `N passed, N failed`
#               (ALLOW_NO_GPU=1 for machines without a GPU adapter)
#   make proof  runs the slow tests; last line as above
#               (ONLY=prefix for some steps, SECONDS=600 for each fuzz target)
#   make bench  prints the benchmark table and writes target/bench.json (ONLY=prefix for a part)
#   make build  builds target/release/tablm, pkg/dist/ and www/dist/
#   make types  writes pkg/src/generated/ and the lists of docs/api.md from the Rust types

SHELL := /bin/bash
PORT ?= 8080

.PHONY: demo test proof bench build types
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

types:
	@UPDATE=1 cargo test --quiet --release --locked --features typescript --test typescript
