# Two commands do all their own set-up on a fresh Debian machine with a Rust toolchain: make demo, make test.
CARGO ?= cargo

.PHONY: help demo test fast check deb rpm lab bench bench-managers bench-switchover bench-audit bench-agent bench-forecast lab-test fuzz model clean chaos

help:
	@echo 'make demo      two kernels, a power cut, a takeover, no lost row (root; installs what the lab needs)'
	@echo 'make test      everything: format, lints, unit, property, CLI, network and lab tests (root)'
	@echo 'make fast      what needs neither root nor the lab'
	@echo 'make bench     a takeover against the bare commands, five rounds in the lab (root)'
	@echo 'make bench-managers   the outage after a power cut, and what a monitor costs, against the stock stacks (25 minutes; root)'
	@echo 'make bench-switchover   a planned move of a full buffer pool: switchover against release and takeover, five pairs (root)'
	@echo 'make chaos     random faults under load: SEED=1 FAULTS=20 MANAGER=agent (a quarter of a minute a fault; docs/chaos.md; root)'
	@echo 'make bench-audit   the offline audit against du on a million files (five minutes; root for cold caches)'
	@echo 'make bench-agent   what the agent costs beside a server: memory and processor over a minute (root)'
	@echo 'make bench-forecast   the forecast of crash recovery against twenty crashes of a real server (ten minutes)'
	@echo 'make model     the search of docs/model.md with all that takes minutes'
	@echo 'make fuzz      every parser of foreign bytes, two minutes each, guided by coverage'
	@echo 'make deb       build the package: target/debian/standin_*.deb'
	@echo 'make rpm       the same for RPM: target/rpm/standin-*.rpm'
	@echo 'make lab       build the images of the lab'

demo: lab
	target/release/lab demo

test: check lab
	tests/setup
	tests/package
	$(CARGO) test --locked --package standin --no-fail-fast -- --include-ignored
	tests/lab/run-tests

fast: check
	$(CARGO) test --locked --workspace

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

deb:
	$(CARGO) build --locked --release --bin standin
	packaging/build-deb

rpm:
	$(CARGO) build --locked --release --bin standin
	packaging/build-rpm

lab:
	$(CARGO) build --locked --release --workspace --bins
	target/release/lab build

chaos: lab
	target/release/lab chaos --seed $(or $(SEED),1) --faults $(or $(FAULTS),20) --manager $(or $(MANAGER),agent) \
		$(if $(ONLY),--only $(ONLY)) $(if $(FENCING),--fencing $(FENCING))

bench: lab
	target/release/lab compare --rounds 5

bench-managers: lab
	target/release/lab compare-managers --rounds 3
	target/release/lab compare-monitors

bench-switchover: lab
	target/release/lab compare-switchover --pairs 5

bench-audit:
	$(CARGO) build --locked --release --bin standin
	tests/bench/audit

bench-agent:
	$(CARGO) build --locked --release --bin standin
	tests/bench/agent

bench-forecast:
	tests/bench/forecast

fuzz:
	tests/fuzz $(SECONDS_EACH)

model:
	STANDIN_MODEL_FAULTS_BY_HAND=2 $(CARGO) test --locked --package standin --test model -- --nocapture --test-threads 1

lab-test: lab
	tests/lab/run-tests

clean:
	$(CARGO) clean
