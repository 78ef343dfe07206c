# make run    the exporter with a made-up organization
# make test   everything; installs what it needs from Debian, PyPI and npm
# make soak   the random walk of tests/it/walk for ten minutes, with another seed each time
# make rulers the story of the rules in real time, on Prometheus 2 and 3 and vmalert; eight minutes
# make faults hard times: no descriptors, little memory, storms of connections; some minutes
# make story  a key that becomes too old, from AWS to its owners and back; shows their messages
# make screenshots renews the pictures of the status page in docs/images
# make status-pages draws the status page in every situation into target/status-pages
# make dashboards draws the dashboards into target/dashboards, and renews their pictures in docs/images
# make lint   invariants of src/lib.rs, prose of the docs, formatting, clippy, documentation
# make bench  runs all benchmarks and renews the tables of docs/benchmarks.md; takes 50 minutes
# make fuzz   feeds random input to what reads from outside, each target for FUZZ_SECONDS (60)
# make deny   checks dependencies: licences, sources, one TLS stack
# make sbom   lists the dependencies in target/iam-key-exporter.cdx.json (CycloneDX)
# make rules  renders deploy/prometheus/rules and optional from source and values.yaml
# make chart  renews the table of values in the Helm chart's README.md
# make static  static binaries for x86_64 and aarch64, in target/static; 15 minutes
# make image   the container images, as archives in target/image, of both static binaries, and their tests
# make packages .deb and .rpm of both static binaries, in target/packages, and their tests
# make release everything that a release consists of, in target/dist, and its test; 20 minutes
# make golden renews the expected output of tests after a change that was meant

VENV := target/venv
VERSION = $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' Cargo.toml)

.PHONY: static image packages release chart rulers faults run test test-cargo test-stack soak fuzz deny sbom story screenshots status-pages dashboards lint bench rules golden docs tools

run:
	cargo run --release -- demo

test: test-cargo test-stack

test-cargo:
	cargo test --locked

# The binary that `cargo test` built.
test-stack: tools test-cargo
	$(VENV)/bin/pytest tests/stack --ignore tests/stack/test_rulers.py --ignore tests/stack/test_hard.py \
		--ignore tests/stack/test_static.py --ignore tests/stack/test_release.py

# The story of the rules in real time, on Prometheus 2 and 3 and vmalert. Not beside anything else that has work for
# the cores: seconds stand for minutes.
rulers: tools
	$(VENV)/bin/pytest tests/stack/test_rulers.py

# Hard times for the built binary: what is exhausted, limited, full, slow, or comes in storms.
faults: tools
	cargo build --locked
	$(VENV)/bin/pytest tests/stack/test_hard.py

tools: $(VENV)/done

story: tools
	cargo build --locked
	$(VENV)/bin/pytest -q -s tests/stack/test_alert_story.py

screenshots: tools
	cargo build --locked
	$(VENV)/bin/python tests/stack/screenshots.py

status-pages: tools
	cargo build --locked
	$(VENV)/bin/python tests/stack/draw_status_pages.py target/status-pages

dashboards: tools
	cargo build --locked
	$(VENV)/bin/python tests/stack/draw_dashboards.py target/dashboards

$(VENV)/done: tests/stack/requirements.txt tests/tools.sh
	tests/tools.sh
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install -q -r $<
	touch $@

lint:
	tests/lint.sh
	tests/prose.py
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	@! grep -E -A1 'name = "(hyper|rustls|openssl-sys)"' Cargo.lock | grep -E 'openssl-sys|version = "0\.(14|20|21)\.' || \
		{ echo "Cargo.lock has a second, outdated HTTP or TLS stack"; exit 1; }
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

# A failure names its seed: WALK_SEED repeats it, but for the random pauses after failures.
soak:
	WALK_SECONDS=$${WALK_SECONDS:-600} WALK_SEED=$${WALK_SEED:-$$(date +%s)} \
		cargo test --locked --test it walk -- --nocapture

# Programs that are built from their source, which takes minutes, and only for who wants them.
CARGO_TOOLS := target/cargo-tools
cyclonedx_VERSION := 0.5.9
deny_VERSION := 0.20.2
fuzz_VERSION := 0.13.2

$(CARGO_TOOLS)/bin/cargo-%:
	cargo install --locked --root $(CARGO_TOOLS) cargo-$*@$($*_VERSION)

fuzz: $(CARGO_TOOLS)/bin/cargo-fuzz
	PATH="$(abspath $(CARGO_TOOLS))/bin:$$PATH" FUZZ_SECONDS="$(FUZZ_SECONDS)" FUZZ_INPUT="$(FUZZ_INPUT)" fuzz/run.sh $(FUZZ_TARGETS)

deny: $(CARGO_TOOLS)/bin/cargo-deny
	cargo fetch --locked
	$< --locked --offline check bans licenses sources

# It always writes beside Cargo.toml, and names the folder of the build, which only makes a second build differ.
sbom: $(CARGO_TOOLS)/bin/cargo-cyclonedx
	$< cyclonedx --format json --spec-version 1.5 --override-filename iam-key-exporter.cdx
	sed 's|path+file://$(CURDIR)|path+file:///src|g' iam-key-exporter.cdx.json > target/iam-key-exporter.cdx.json
	rm iam-key-exporter.cdx.json

# Not at the same time as anything else that has work for the cores.
bench: tools
	benches/tools.sh
	cargo build --locked --release
	$(VENV)/bin/python benches/scrape.py
	$(VENV)/bin/python benches/tls.py
	$(VENV)/bin/python benches/cost.py
	$(VENV)/bin/python benches/storage.py
	$(VENV)/bin/python benches/start.py
	$(VENV)/bin/python benches/rest.py
	$(VENV)/bin/python benches/rules.py
	$(VENV)/bin/python benches/boards.py
	$(VENV)/bin/python benches/silent.py
	$(VENV)/bin/python benches/status_page.py
	cargo bench --locked --bench pipeline
	$(VENV)/bin/python benches/report.py

# zig is the C compiler and the linker: it has musl for both. The second binary runs in an emulator.
static: tools
	rustup target add x86_64-unknown-linux-musl aarch64-unknown-linux-musl
	$(VENV)/bin/pip install -q -r deploy/static-requirements.txt
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" cargo zigbuild --locked --release \
		--target x86_64-unknown-linux-musl --target aarch64-unknown-linux-musl
	mkdir -p target/static
	cp target/x86_64-unknown-linux-musl/release/iam-key-exporter target/static/iam-key-exporter-x86_64
	cp target/aarch64-unknown-linux-musl/release/iam-key-exporter target/static/iam-key-exporter-aarch64
	$(VENV)/bin/pytest tests/stack/test_static.py

NATIVE = target/static/iam-key-exporter-$(shell uname -m)
STATIC_TEST = IAM_KEY_EXPORTER_BIN=target/static/iam-key-exporter-x86_64 $(VENV)/bin/pytest

image: static
	deploy/docker/rootfs.sh target/static/iam-key-exporter-x86_64 target/image/amd64/rootfs
	deploy/docker/rootfs.sh target/static/iam-key-exporter-aarch64 target/image/arm64/rootfs
	deploy/docker/build.sh $(VERSION) amd64 target/image/amd64
	deploy/docker/build.sh $(VERSION) arm64 target/image/arm64
	$(STATIC_TEST) tests/stack/test_image.py

packages: static
	deploy/packages/manual.sh $(NATIVE) target/manual
	deploy/packages/build.sh $(VENV)/bin/nfpm target/static/iam-key-exporter-x86_64 target/manual amd64 $(VERSION) target/packages
	deploy/packages/build.sh $(VENV)/bin/nfpm target/static/iam-key-exporter-aarch64 target/manual arm64 $(VERSION) target/packages
	$(STATIC_TEST) tests/stack/test_packages.py

# With the time of the commit instead of the current one, so that a second build gives the same files. Only the images
# differ, in an id of buildah.
release: export SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct)
release: image packages sbom
	deploy/release.sh $(VENV)/bin/python $(VERSION) target/dist
	$(VENV)/bin/pytest tests/stack/test_release.py

rules: tools
	$(VENV)/bin/python deploy/prometheus/render.py

chart: tools
	$(VENV)/bin/python deploy/helm/values_table.py

golden:
	UPDATE_EXPECT=1 cargo test --locked

docs:
	cargo run --locked -q -- metrics-doc > docs/metrics.md
