# For GNU make and BSD make. Needs Rust, Go, Python 3 and git. The tests and the demo set up all else themselves, under
# target/; for `dist` see .ci/dist.

CARGO_TARGET_DIR ?= target
DEBUG = $(CARGO_TARGET_DIR)/debug
BENCH = $(CARGO_TARGET_DIR)/bench

.PHONY: bench build demo dist picture test

build:
	cargo build --release

# Reads a sample job; with OPENAI_API_KEY in the environment and JOB=ftjob-… on the command line, that job.
demo:
	@echo "Building the program and the sample API, which takes about a minute the first time."
	cargo build --bin openai-fine-tuning-job --example demo
	cargo run --quiet --example demo -- $(DEBUG)/openai-fine-tuning-job

# The README's picture: a plan that a guard stops.
picture:
	cargo build --bin openai-fine-tuning-job --example picture
	cargo run --quiet --example picture -- $(DEBUG)/openai-fine-tuning-job

# ENGINES="terraform tofu" requires both; without it the tests run on those that are on the PATH.
test:
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	cargo clippy --test end_to_end --test packages -- -D warnings # left out of all targets, as `cargo test` leaves them out
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items
	cargo test
	cargo test --test end_to_end
	.ci/lint-workflows
	.ci/versions
	.ci/check-package

# All that a release has for this machine, in target/dist/, and each of it installed and run.
dist:
	.ci/dist
	cargo test --test packages

# Takes minutes, on a machine that does nothing else; then the tables and charts in benches/ say what it measured. With
# BASELINE=path of another build of the program, it compares that one too. It needs curl, jq, xargs and nginx as well.
bench:
	cargo install --quiet --locked --root $(BENCH) --path .
	cargo install --quiet --locked --root $(BENCH) hyperfine@1.20.0
	python3 -m venv $(BENCH)/venv
	$(BENCH)/venv/bin/python -m pip install --quiet openai==3.54.0
	BASELINE="$${BASELINE:+$$(realpath "$$BASELINE")}" cargo bench --bench compare
	python3 benches/rate_limit.py $(BENCH)/bin/openai-fine-tuning-job
