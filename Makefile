# The verbs of the project; continuous integration calls the same ones.
# `make` alone lists them.

GO          ?= go
# The io_uring engine is compiled in with the tag giouring. Its pinned library
# reaches into package syscall by linkname, which the linker refuses by default.
# Without tag and flag the portable engine is built.
LINK        := -ldflags=-checklinkname=0
ENGINE      := -tags giouring $(LINK)
# Under this variable a test fails if the io_uring engine is not compiled in.
WANT        := SLUICE_WANT_IOURING=1
# The simulator is built with the costly assertions; SIMTAGS= leaves them out.
SIMTAGS     ?= invariants
PKGS        ?= ./...
TIMEOUT     ?= 30m
COUNT       ?= 1
FUZZTIME    ?= 10s
BENCH       ?= ^Benchmark(Gate|Encode|Egress|Pipeline|Chain|ChainAlone|Bytes|ParkedRoundTrip|Report|Evaluate|Snapshot)$$
BENCHTIME   ?= 300ms
BENCHPKGS   ?= ./actors ./mailbox ./encode ./durability
# BENCHARGS="--into docs/benchmarks.md" updates the tables there.
BENCHARGS   ?=
RUNARGS     ?=
# PACKAGEARGS="--targets linux-amd64" makes one target.
PACKAGEARGS ?=
# Arguments for every go test of `make test`, as TESTARGS=-short.
TESTARGS    ?=
# Releases that work with the Go version in go.mod.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
# All checks but those of comment form and naming, which cmd/lab/tidy makes.
CHECKS      := all,-ST1000,-ST1003,-ST1016,-ST1020,-ST1021,-ST1022

.DEFAULT_GOAL := help
.PHONY: help build sluice cross run demo test trials test-embedding race lint vuln bench peers collector bench-quick bench-telemetry bench-assertions fuzz sim sim-cluster models soak mutants picture package test-package module moduletest

help: ## list the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "  make %-17s %s\n", $$1, $$2}'

build: sluice ## compile bin/sluice, and all packages without io_uring and with it
	$(GO) build $(PKGS)
	$(GO) build $(ENGINE) $(PKGS)

sluice: ## compile bin/sluice alone, with both engines
	@mkdir -p bin
	$(GO) build $(ENGINE) -o bin/sluice ./cmd/sluice

cross: ## compile client, libraries and bin/sluice for macOS and Windows; a server runs on Linux only
	@set -e; for os in darwin windows; do set -x; \
		GOOS=$$os $(GO) vet ./transport/client ./transport/wire; \
		GOOS=$$os $(GO) build ./transport/... ./actors/... ./durability/... ./telemetry/... ./encode ./mailbox ./cmd/orderbook; \
		GOOS=$$os $(GO) build -o bin/$$os/ ./cmd/sluice; \
		{ set +x; } 2>/dev/null; done

run: sluice ## start the server; RUNARGS="..." are flags of sluice serve
	bin/sluice serve $(RUNARGS)

demo: sluice ## run a server, 64 traders and 500 subscribers with a kill -9 in the middle, and print a table
	bin/sluice demo $(RUNARGS)

test: ## run all tests, without and with the io_uring engine and in cmd/lab; prints the time of each part
	@GO="$(GO)" PKGS="$(PKGS)" COUNT=$(COUNT) TIMEOUT=$(TIMEOUT) TESTARGS="$(TESTARGS)" .ci/test

trials: ## run the trials that RUN=pattern names, COUNT times, on both engines; RUN=TestClusterMixed MIXED=2h puts three nodes under all faults
	@cd cmd/lab && $(WANT) $(GO) test -vet=off $(ENGINE) -count=$(COUNT) -timeout 0 -v -run '$(or $(RUN),.)' ./trials

test-embedding: ## build and run a ledger in a module outside this one, with a kill -9 in the middle
	@.ci/embedding

race: ## run all tests under the race detector with the costly assertions; needs gcc
	@command -v $${CC:-gcc} >/dev/null || { echo "make race: the race detector needs cgo and a C compiler, and there is no $${CC:-gcc}. Install one (Debian: apt-get install gcc libc6-dev) or set CC."; exit 1; }
	@RACE=1 GO="$(GO)" PKGS="$(PKGS)" COUNT=$(COUNT) TIMEOUT=$(TIMEOUT) TESTARGS="$(RACEARGS)" .ci/test

lint: ## run gofmt, vet and staticcheck with all tags in all modules; check module files and vulnerabilities
	@bad=$$(gofmt -l .); if [ -n "$$bad" ]; then echo "not formatted (gofmt -w them):"; echo "$$bad"; exit 1; fi
	@GO="$(GO)" .ci/lint "$(STATICCHECK)" -checks $(CHECKS)
	@$(MAKE) --no-print-directory vuln

vuln: ## check for known vulnerabilities, if the database can be reached
	@if curl -fsS -m 10 -o /dev/null https://vuln.go.dev/index/db.json 2>/dev/null; then \
		echo "$(GO) run $(GOVULNCHECK) -tags giouring $(PKGS)"; $(GO) run $(GOVULNCHECK) -tags giouring $(PKGS); \
	else echo "govulncheck: not run, its database vuln.go.dev cannot be reached from here (or there is no curl)"; fi

bench: build peers ## run micro benchmarks and compare the pipeline with other servers, in 15 minutes; bench-quick takes one
	$(WANT) $(GO) test -vet=off $(ENGINE) -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -timeout 10m $(BENCHPKGS) > bin/micro.txt || { cat bin/micro.txt; exit 1; }
	@cat bin/micro.txt
	bin/sluice bench --profile full --micro bin/micro.txt $(BENCHARGS)

peers: ## build bin/peers, the servers that `sluice bench` compares with
	@mkdir -p bin
	cd cmd/lab/peers && $(GO) build $(ENGINE) -o ../../../bin/peers .

bench-telemetry: ## measure the cost of telemetry: the pipeline with and without it, in turns; TURNS=200
	.ci/bench-without telemetry $(TURNS)

bench-assertions: ## measure the cost of the checks that are always compiled in, in the same way
	.ci/bench-without assertions $(TURNS)

collector: ## build bin/otelcol, the upstream OpenTelemetry collector, for a test that skips without it
	@mkdir -p bin
	cd cmd/lab/collector && $(GO) build -o ../../../bin/otelcol .

bench-quick: sluice
	$(WANT) $(GO) test -vet=off $(ENGINE) -run '^$$' -bench '^Benchmark(Gate|Encode|Egress|ChainAlone)$$' -benchtime 50ms -timeout 1m ./actors ./mailbox
	bin/sluice bench --profile quick

fuzz: ## run every Fuzz target for FUZZTIME (10s)
	@set -e; n=0; for f in $$(grep -rlE --include='*_test.go' --exclude-dir=lab '^func Fuzz' . | sort); do \
		for t in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' $$f); do \
			n=$$((n+1)); echo "== $$t in $$(dirname $$f)"; \
			$(WANT) $(GO) test -vet=off $(ENGINE) -run '^$$' -fuzz "^$$t\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$(dirname $$f); \
		done; done; echo "fuzzed $$n targets for $(FUZZTIME) each"

sim: ## run the simulator: SEEDS=1000 from FIRST=1 on all cores, or SEED=17 alone; STEPS=20000 each
	$(GO) test -vet=off $(if $(SIMTAGS),-tags "$(SIMTAGS)") -count=1 -timeout 24h ./actors -run 'TestSim$$' -v $(if $(SEED),-seed $(SEED)) $(if $(SEEDS),-seeds $(SEEDS)) $(if $(FIRST),-first $(FIRST)) $(if $(STEPS),-steps $(STEPS)) $(SIMARGS)

sim-cluster: ## run the cluster simulator: SEEDS=3000 from FIRST=1 on, or SEED=17 alone; STEPS=6000 each
	$(GO) test -vet=off $(if $(SIMTAGS),-tags "$(SIMTAGS)") -count=1 -timeout 24h ./actors/node/cluster -run 'TestSim$$' -v $(if $(SEED),-seed $(SEED)) $(if $(SEEDS),-seeds $(SEEDS)) $(if $(FIRST),-first $(FIRST)) $(if $(STEPS),-steps $(STEPS)) $(SIMARGS)

models: ## check the Promela models and their mutants with spin
	@.ci/models

picture: ## take docs/live.png in a real browser after 5 minutes of trading
	@d=$$(mktemp -d) && (cd cmd/lab && SLUICE_PICTURES=$$d $(WANT) $(GO) test -vet=off $(ENGINE) -count=1 -timeout 15m -run PictureForReadme ./browser) && cp $$d/live-light.png docs/live.png && rm -r $$d

soak: ## run simulator seeds (from FIRST) and the long variants of the tests for HOURS=2
	@.ci/soak $(or $(HOURS),2) $(or $(FIRST),1000000)

mutants: ## plant the known bugs one by one, each of which a test must find; MUTANT=words selects
	@.ci/mutants $(MUTANT)

package: ## make everything that is given to users in dist/: archives, deb, rpm, OCI image, bill of materials, sums
	cd cmd/lab/packages && $(GO) run . $(PACKAGEARGS)

test-package: ## install, run, upgrade and remove the packages on this machine; needs root and apt
	@GO="$(GO)" .ci/test-package

module: ## rename the module in place, for a published fork: MODULE=example.org/you/sluice
	@.ci/module "$(MODULE)"

moduletest: ## check `make module` on a copy
	@.ci/moduletest
