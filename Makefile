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
TIMEOUT     ?= 10m
COUNT       ?= 1
FUZZTIME    ?= 10s
BENCH       ?= ^Benchmark(Gate|Encode|Egress|Pipeline|Chain|ChainAlone|Bytes|ParkedRoundTrip|Report|Evaluate|Snapshot)$$
BENCHTIME   ?= 300ms
BENCHPKGS   ?= ./actors ./mailbox ./encode ./durability
# BENCHARGS="--into docs/benchmarks.md" puts the tables where they are read.
BENCHARGS   ?=
RUNARGS     ?=
# Arguments for every go test of `make test`, as TESTARGS=-short.
TESTARGS    ?=
# Releases that were seen to work with the Go version in go.mod.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
# Comment form and naming are ours: cmd/lab/tidy holds them.
CHECKS      := all,-ST1000,-ST1003,-ST1016,-ST1020,-ST1021,-ST1022

.DEFAULT_GOAL := help
.PHONY: help build run demo test test-embedding race lint vuln bench peers collector bench-quick bench-telemetry bench-assertions fuzz sim models soak mutants picture module moduletest

help: ## list the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "  make %-17s %s\n", $$1, $$2}'

build: ## compile all packages without io_uring and with it, and bin/sluice
	$(GO) build $(PKGS)
	$(GO) build $(ENGINE) $(PKGS)
	@if [ -d cmd/sluice ]; then set -x; mkdir -p bin && $(GO) build $(ENGINE) -o bin/sluice ./cmd/sluice; fi

run: build ## start the stand-alone server; RUNARGS="..." are its flags
	bin/sluice serve $(RUNARGS)

demo: build ## server, 64 clients, a kill -9 in the middle, and a table
	bin/sluice demo $(RUNARGS)

test: ## all tests: without the io_uring engine, with it, and the modules below cmd/lab; says how long each part took
	@GO="$(GO)" PKGS="$(PKGS)" COUNT=$(COUNT) TIMEOUT=$(TIMEOUT) TESTARGS="$(TESTARGS)" .ci/test

test-embedding: ## a ledger in a module of its own outside this one: built, served, killed in the middle
	@.ci/embedding

race: ## all tests under the race detector with the costly assertions; needs gcc
	@command -v $${CC:-gcc} >/dev/null || { echo "make race: the race detector needs cgo and a C compiler, and there is no $${CC:-gcc}. Install one (Debian: apt-get install gcc libc6-dev) or set CC."; exit 1; }
	@RACE=1 GO="$(GO)" PKGS="$(PKGS)" COUNT=$(COUNT) TIMEOUT=$(TIMEOUT) TESTARGS="$(RACEARGS)" .ci/test

lint: ## gofmt, vet and staticcheck with all tags in all modules, module files, known vulnerabilities
	@bad=$$(gofmt -l .); if [ -n "$$bad" ]; then echo "not formatted (gofmt -w them):"; echo "$$bad"; exit 1; fi
	@GO="$(GO)" .ci/lint "$(STATICCHECK)" -checks $(CHECKS)
	@$(MAKE) --no-print-directory vuln

vuln: ## known vulnerabilities, skipped in words where the database cannot be reached
	@if curl -fsS -m 10 -o /dev/null https://vuln.go.dev/index/db.json 2>/dev/null; then \
		echo "$(GO) run $(GOVULNCHECK) -tags giouring $(PKGS)"; $(GO) run $(GOVULNCHECK) -tags giouring $(PKGS); \
	else echo "govulncheck: not run, its database vuln.go.dev cannot be reached from here (or there is no curl)"; fi

bench: build peers ## micro benchmarks and the whole pipeline beside a plain Go server, a quarter of an hour; bench-quick is a minute of it
	$(WANT) $(GO) test -vet=off $(ENGINE) -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -timeout 10m $(BENCHPKGS) > bin/micro.txt || { cat bin/micro.txt; exit 1; }
	@cat bin/micro.txt
	bin/sluice bench --profile full --micro bin/micro.txt $(BENCHARGS)

peers: ## bin/peers, the servers that `sluice bench` compares with; a module of its own
	@mkdir -p bin
	cd cmd/lab/peers && $(GO) build $(ENGINE) -o ../../../bin/peers .

bench-telemetry: ## what telemetry costs: the pipeline with it and without, in turns; TURNS=200
	.ci/bench-without telemetry $(TURNS)

bench-assertions: ## what the checks that are always on cost, in the same way
	.ci/bench-without assertions $(TURNS)

collector: ## bin/otelcol, the upstream OpenTelemetry collector, for a test that skips without it; a module of its own
	@mkdir -p bin
	cd cmd/lab/collector && $(GO) build -o ../../../bin/otelcol .

bench-quick:
	@mkdir -p bin
	$(GO) build $(ENGINE) -o bin/sluice ./cmd/sluice
	$(WANT) $(GO) test -vet=off $(ENGINE) -run '^$$' -bench '^Benchmark(Gate|Encode|Egress|ChainAlone)$$' -benchtime 50ms -timeout 1m ./actors ./mailbox
	bin/sluice bench --profile quick

fuzz: ## every Fuzz target for FUZZTIME (10s)
	@set -e; n=0; for f in $$(grep -rlE --include='*_test.go' --exclude-dir=lab '^func Fuzz' . | sort); do \
		for t in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' $$f); do \
			n=$$((n+1)); echo "== $$t in $$(dirname $$f)"; \
			$(WANT) $(GO) test -vet=off $(ENGINE) -run '^$$' -fuzz "^$$t\$$" -fuzztime $(FUZZTIME) $$(dirname $$f); \
		done; done; echo "fuzzed $$n targets for $(FUZZTIME) each"

sim: ## the deterministic simulator: SEEDS=1000 from FIRST=1 on all cores, or SEED=17 again; STEPS=20000 with faults each
	$(GO) test -vet=off $(if $(SIMTAGS),-tags "$(SIMTAGS)") -count=1 -timeout 24h ./actors -run 'TestSim$$' -v $(if $(SEED),-seed $(SEED)) $(if $(SEEDS),-seeds $(SEEDS)) $(if $(FIRST),-first $(FIRST)) $(if $(STEPS),-steps $(STEPS)) $(SIMARGS)

models: ## check the Promela models and their mutants with spin
	@.ci/models

picture: ## docs/live.png, taken in a real browser after 5 minutes of trading
	@d=$$(mktemp -d) && (cd cmd/lab && SLUICE_PICTURES=$$d $(WANT) $(GO) test -vet=off $(ENGINE) -count=1 -timeout 15m -run ThePictureForTheReadme ./browser) && cp $$d/live-light.png docs/live.png && rm -r $$d

soak: ## for HOURS=2: simulator seeds (from FIRST) on one core, the long variants of the tests beside them; counts at the end
	@.ci/soak $(or $(HOURS),2) $(or $(FIRST),1000000)

mutants: ## plant the known bugs one by one and see each caught, and by which seed; MUTANT=words selects
	@.ci/mutants $(MUTANT)

module: ## rename the module in place, for a fork that is published: MODULE=example.org/you/sluice
	@.ci/module "$(MODULE)"

moduletest: ## check `make module` on a copy
	@.ci/moduletest
