# What a contributor types. The work is in deploy/local (running the stack) and .ci (checks).
# `make up API=3 FANOUT=2 PERSISTER=2 PORT=8000 LIVE_CHAT_ENABLED=false`: variables given here or in the
# environment reach the stack and win over its defaults.

.PHONY: up test test-long lint bench torture planted fuzz clean-local

# Runs the whole stack on this machine until Ctrl-C.
up:
	@exec deploy/local/up

# Removes what `make up` keeps in .local.
clean-local:
	@deploy/local/clean

# Every test that CI runs, on servers of its own. Tests wait for servers and leases more than they compute, so at least four
# run at once, however few processors there are.
TEST_THREADS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 4); if [ "$$n" -gt 4 ]; then echo "$$n"; else echo 4; fi)
test:
	@deploy/local/setup
	cargo build --release --locked --workspace --bins
	RUST_TEST_THREADS=$(TEST_THREADS) cargo test --release --locked --workspace

# Also the tests that take minutes, one at a time: some of them measure it.
test-long: test
	cargo test --release --locked --workspace -- --ignored --test-threads 1

# Everything that can be known without running a test.
lint:
	@.ci/lint

# Loads the live room of a stack of its own and says what that cost: `make bench BENCH='--viewers 500 --rate 20'`.
bench:
	@deploy/local/setup
	cargo build --release --locked --workspace --bins
	@"$${CARGO_TARGET_DIR:-target}/release/bench" $(BENCH)

# Searches every decoder for inputs that break its promise, for SECS in all. What it finds, it tells how to look at again:
# `make fuzz TARGET=frames INPUT=path`.
fuzz:
	@tests/fuzz/run $(SECS) $(TARGET) $(INPUT)

# Breaks a stack of its own by a schedule that SEED repeats, and checks that nothing accepted is lost. docs/operations.md
# tells how to read the verdict. TORTURE='--json report.json' also writes the figures.
SECS ?= 60
RATE ?= 300
torture: API ?= 3
torture: FANOUT ?= 2
torture: PERSISTER ?= 2
torture:
	@deploy/local/setup
	cargo build --release --locked --workspace --bins
	@TEST_BACKEND=local "$${CARGO_TARGET_DIR:-target}/release/torture" --secs $(SECS) --rate $(RATE) --api $(API) \
		--fanout $(FANOUT) --persister $(PERSISTER) $(if $(SEED),--seed $(SEED)) $(TORTURE)

# Takes one guard of the delivery path away at a time and shows that a test notices; docs/decisions/planted-bugs.md has the list.
# Ends by building the programs again as they should be.
planted:
	@deploy/local/setup
	cargo build --release --locked --workspace --bins --features shared/planted-bugs
	@"$${CARGO_TARGET_DIR:-target}/release/planted"; status=$$?; \
		cargo build --release --locked --workspace --bins && exit $$status
