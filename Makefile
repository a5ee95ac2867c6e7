# The targets that people use: `make up` and `make test`. `make help` lists all.

KUBE_VERSION := v1.36.4
KUBE_MODULE  := kube/v1.36
KUBE_BEFORE  := v1.35.4
VERSION      := $(shell git describe --tags --always --dirty 2>/dev/null || echo v0.0.0-dev)
BIN          := $(CURDIR)/build/bin

export CGO_ENABLED ?= 0
# Programs and tests are compiled with the same flags: each package once, and once more under the race detector.
export GOFLAGS ?= -trimpath
# The compiler collects less often: a tenth less of the processor, for memory that a machine has which builds Kubernetes.
GO_BUILD   := env GOGC=400 go build
# vet has looked at all of it in lint. A hundred tests are linked: without tables for debuggers, and by Go's own linker under the race detector too.
GO_TEST    := go test -vet=off -ldflags '-s -w'
GO_RACE    := GOGC=400 CGO_ENABLED=1 go test -race -vet=off -ldflags '-s -w -linkmode=internal'
LDFLAGS    := -s -w -X umbel.dev/umbel/internal/version.Version=$(VERSION)
kube_flags  = -s -w -X k8s.io/component-base/version.gitVersion=$(1) -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$(word 2,$(subst ., ,$(1))) -X k8s.io/component-base/version.gitTreeState=clean

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: up
up: deps build ## a hub, three real clusters, and an example repository that governs them
	@$(BIN)/umbel up

.PHONY: down
down: build ## take everything away that `make up` made
	@$(BIN)/umbel down

.PHONY: deps
deps: ## install what real nodes need, from Debian's packages (root only)
	@scripts/install-deps.sh nodes

.PHONY: build
build: umbel kube ## umbel, umbel-agent and the embedded Kubernetes

.PHONY: umbel
umbel: ## umbel and umbel-agent
	@mkdir -p $(BIN)
	@echo "building umbel and umbel-agent"
	@$(GO_BUILD) -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/umbel ./cmd/umbel-agent

# The embedded Kubernetes is a module of its own: its first build takes minutes, so it is built when it changed.
KUBE_SOURCES := $(shell find $(KUBE_MODULE) -name '*.go' -o -name 'go.*')

.PHONY: kube
kube: $(BIN)/umbel-kube $(BIN)/umbel-coredns $(BIN)/umbel-pause balancer ## umbel-kube, CoreDNS, pause and MetalLB

$(BIN)/umbel-kube: $(filter-out $(KUBE_MODULE)/pause/%,$(KUBE_SOURCES))
	@mkdir -p $(BIN)
	@echo "building umbel-kube (etcd and Kubernetes $(KUBE_VERSION)); the first time this takes several minutes"
	@cd $(KUBE_MODULE) && $(GO_BUILD) -ldflags '$(call kube_flags,$(KUBE_VERSION))' -o $@ .

# The Kubernetes of the minor before, for clusters that are to be upgraded: the same program, with libraries that are the same where they can be.
.PHONY: kube-before
kube-before: $(BIN)/umbel-kube-1.35 ## the Kubernetes of the minor before, which clusters of `umbel cluster` may run as well

$(BIN)/umbel-kube-1.35: $(wildcard kube/v1.35/*)
	@mkdir -p $(BIN)
	@echo "building umbel-kube-1.35 (etcd and Kubernetes $(KUBE_BEFORE)); the first time this takes several minutes"
	@cd kube/v1.35 && $(GO_BUILD) -ldflags '$(call kube_flags,$(KUBE_BEFORE))' -o $@ .

# CoreDNS is a module of its own as well: it wants other versions of Kubernetes' libraries.
$(BIN)/umbel-coredns: $(wildcard kube/dns/*)
	@mkdir -p $(BIN)
	@echo "building umbel-coredns; the first time this takes a few minutes"
	@cd kube/dns && $(GO_BUILD) -ldflags '-s -w' -o $@ .

$(BIN)/umbel-pause: $(wildcard $(KUBE_MODULE)/pause/*)
	@echo "building umbel-pause"
	@cd $(KUBE_MODULE) && $(GO_BUILD) -ldflags '-s -w' -o $@ ./pause

# MetalLB, unchanged, for Services of type LoadBalancer: its two programs, and its manifest.
.PHONY: balancer
balancer: $(BIN)/umbel-metallb-controller $(BIN)/umbel-metallb-speaker $(BIN)/umbel-metallb.yaml ## MetalLB, for Services of type LoadBalancer

$(BIN)/umbel-metallb-%: kube/balancer/go.mod kube/balancer/go.sum
	@mkdir -p $(BIN)
	@echo "building umbel-metallb-$*; the first time this takes a minute"
	@cd kube/balancer && $(GO_BUILD) -ldflags '-s -w' -o $@ go.universe.tf/metallb/$*

$(BIN)/umbel-metallb.yaml: kube/balancer/go.mod kube/balancer/go.sum
	@mkdir -p $(BIN)
	@cd kube/balancer && go mod download go.universe.tf/metallb && install -m 644 $$(go list -m -f '{{.Dir}}' go.universe.tf/metallb)/config/manifests/metallb-native.yaml $@

# The identity provider of tests is a module of its own as well: it is for tests alone, and brings a hundred others along.
.PHONY: dex
dex: $(BIN)/umbel-dex ## umbel-dex, the identity provider that tests sign people in with

$(BIN)/umbel-dex: $(wildcard tools/dex/*)
	@mkdir -p $(BIN)
	@echo "building umbel-dex; the first time this takes a minute"
	@cd tools/dex && $(GO_BUILD) -ldflags '-s -w' -o $@ .

# The registry of tests is the reference implementation, without the storage of its clouds.
.PHONY: registry
registry: $(BIN)/umbel-registry ## umbel-registry, the OCI registry that tests keep artifacts and charts in

$(BIN)/umbel-registry: $(wildcard tools/registry/*)
	@mkdir -p $(BIN)
	@echo "building umbel-registry; the first time this takes a minute"
	@cd tools/registry && $(GO_BUILD) -ldflags '-s -w' -o $@ .

# A metrics server, unchanged, for tests alone: what `kubectl top` asks.
.PHONY: metrics-server
metrics-server: $(BIN)/umbel-metrics-server ## umbel-metrics-server, the metrics server that clusters of tests have

$(BIN)/umbel-metrics-server: $(wildcard tools/metricsserver/*)
	@mkdir -p $(BIN)
	@echo "building umbel-metrics-server; the first time this takes half a minute"
	@cd tools/metricsserver && $(GO_BUILD) -ldflags '-s -w' -o $@ sigs.k8s.io/metrics-server/cmd/metrics-server

# SOPS and age-keygen, for tests alone: they bring the clients of every cloud along.
.PHONY: sops
sops: $(BIN)/sops $(BIN)/age-keygen ## sops and age-keygen, with which tests encrypt as people do

$(BIN)/sops: $(wildcard tools/sops/*)
	@mkdir -p $(BIN)
	@echo "building sops; the first time this takes two minutes"
	@cd tools/sops && $(GO_BUILD) -ldflags '-s -w' -o $@ github.com/getsops/sops/v3/cmd/sops

$(BIN)/age-keygen: $(wildcard tools/sops/*)
	@mkdir -p $(BIN)
	@cd tools/sops && $(GO_BUILD) -ldflags '-s -w' -o $@ filippo.io/age/cmd/age-keygen

# Cluster API is a module of its own as well: it is started where somebody asks for it, and costs a hub nothing else. Its
# manifests come from its module too.
.PHONY: capi
capi: $(BIN)/umbel-capi ## umbel-capi, Cluster API as one program

$(BIN)/umbel-capi: $(wildcard kube/capi/*.go kube/capi/await/*.go kube/capi/components/*.go kube/capi/go.*)
	@mkdir -p $(BIN)
	@echo "building umbel-capi (Cluster API); the first time this takes two minutes"
	@cd kube/capi && go mod download sigs.k8s.io/cluster-api && dir=$$(go list -m -f '{{.Dir}}' sigs.k8s.io/cluster-api) && \
		go run ./components $$dir/core/config/default $$dir/bootstrap/kubeadm/config/default $$dir/controlplane/kubeadm/config/default > components.yaml
	@cd kube/capi && $(GO_BUILD) -ldflags '-s -w' -o $@ .

# Cluster API's own provider for development, unchanged, for tests alone: its clusters and machines are made of nothing but memory.
.PHONY: capd
capd: $(BIN)/capd $(BIN)/capd.yaml ## capd, Cluster API's provider for development, with its manifests

$(BIN)/capd: tools/capd/go.mod tools/capd/go.sum
	@mkdir -p $(BIN)
	@echo "building capd; the first time this takes a minute"
	@cd tools/capd && $(GO_BUILD) -ldflags '-s -w' -o $@ sigs.k8s.io/cluster-api/test/infrastructure/docker

$(BIN)/capd.yaml: $(BIN)/capd $(BIN)/umbel-capi
	@dir=$$(cd tools/capd && go mod download sigs.k8s.io/cluster-api/test && go list -m -f '{{.Dir}}' sigs.k8s.io/cluster-api/test) && cd kube/capi && \
		go run ./components $$dir/infrastructure/docker/config/default > $@

# The framework by which Cluster API tests its own providers, and which checks ours on a cluster that a story has made.
.PHONY: contract
contract: $(BIN)/capi-contract ## capi-contract, Cluster API's own checks of what a provider does

$(BIN)/capi-contract: tools/capd/go.mod tools/capd/go.sum $(wildcard tools/capd/contract/*)
	@mkdir -p $(BIN)
	@echo "building capi-contract; the first time this takes a minute"
	@cd tools/capd && GOGC=400 go test -c -vet=off -ldflags '-s -w' -o $@ ./contract

# Cluster API's provider for vSphere, unchanged; and a vCenter without machines of its own, for tests alone.
.PHONY: capv
capv: $(BIN)/capv $(BIN)/capv.yaml ## capv, Cluster API's provider for vSphere, with its manifests

$(BIN)/capv: tools/capv/go.mod tools/capv/go.sum
	@mkdir -p $(BIN)
	@echo "building capv; the first time this takes two minutes"
	@cd tools/capv && $(GO_BUILD) -ldflags '-s -w' -o $@ sigs.k8s.io/cluster-api-provider-vsphere

$(BIN)/capv.yaml: $(BIN)/capv $(BIN)/umbel-capi
	@dir=$$(cd tools/capv && go mod download sigs.k8s.io/cluster-api-provider-vsphere && go list -m -f '{{.Dir}}' sigs.k8s.io/cluster-api-provider-vsphere) && cd kube/capi && \
		go run ./components $$dir/config/default > $@

# The same for AWS; and an account in moto, whose instances are none, for tests alone. Its Python packages are in a folder of their own.
.PHONY: capa
capa: $(BIN)/capa $(BIN)/capa.yaml ## capa, Cluster API's provider for AWS, with its manifests

$(BIN)/capa: tools/capa/go.mod tools/capa/go.sum
	@mkdir -p $(BIN)
	@echo "building capa; the first time this takes some minutes"
	@cd tools/capa && $(GO_BUILD) -ldflags '-s -w' -o $@ sigs.k8s.io/cluster-api-provider-aws/v2

$(BIN)/capa.yaml: $(BIN)/capa $(BIN)/umbel-capi
	@dir=$$(cd tools/capa && go mod download sigs.k8s.io/cluster-api-provider-aws/v2 && go list -m -f '{{.Dir}}' sigs.k8s.io/cluster-api-provider-aws/v2) && cd kube/capi && \
		go run ./components $$dir/config/default > $@

# The same for Azure, whose manifests come with those kinds of Azure Service Operator that it leaves work to; its config/default would fetch
# that operator's own from its releases.
.PHONY: capz
capz: $(BIN)/capz $(BIN)/capz.yaml ## capz, Cluster API's provider for Azure, with its manifests

$(BIN)/capz: tools/capz/go.mod tools/capz/go.sum
	@mkdir -p $(BIN)
	@echo "building capz; the first time this takes some minutes"
	@cd tools/capz && $(GO_BUILD) -ldflags '-s -w' -o $@ sigs.k8s.io/cluster-api-provider-azure

$(BIN)/capz.yaml: $(BIN)/capz $(BIN)/umbel-capi
	@dir=$$(cd tools/capz && go mod download sigs.k8s.io/cluster-api-provider-azure && go list -m -f '{{.Dir}}' sigs.k8s.io/cluster-api-provider-azure) && cd kube/capi && \
		{ go run ./components $$dir/config/capz && echo --- && cat $$dir/config/aso/crds.yaml; } > $@

# kubeadm, unchanged, for tests alone: it makes the control planes of simulated computers as on those of a cloud.
.PHONY: kubeadm
kubeadm: $(BIN)/kubeadm ## kubeadm, which makes control planes on simulated computers

$(BIN)/kubeadm: tools/kubeadm/go.mod tools/kubeadm/go.sum
	@mkdir -p $(BIN)
	@echo "building kubeadm; the first time this takes a minute"
	@cd tools/kubeadm && $(GO_BUILD) -ldflags '$(call kube_flags,$(KUBE_VERSION))' -o $@ k8s.io/kubernetes/cmd/kubeadm

# What asks a cloud before a cluster is made there: modules of their own, for those who make clusters there.
.PHONY: aws-program azure-program vsphere-program
aws-program: $(BIN)/umbel-aws ## umbel-aws, which asks AWS whether it would take a cluster
azure-program: $(BIN)/umbel-azure ## umbel-azure, which asks Azure whether it would take a cluster
vsphere-program: $(BIN)/umbel-vsphere ## umbel-vsphere, which asks a vCenter whether it would take a cluster

$(BIN)/umbel-aws: $(wildcard tools/aws/*)
$(BIN)/umbel-azure: $(wildcard tools/azure/*)
$(BIN)/umbel-vsphere: $(wildcard tools/vsphere/*)
$(BIN)/umbel-aws $(BIN)/umbel-azure $(BIN)/umbel-vsphere:
	@mkdir -p $(BIN)
	@echo "building $(@F); the first time this takes half a minute"
	@cd tools/$(@F:umbel-%=%) && $(GO_BUILD) -ldflags '-s -w' -o $@ .

.PHONY: moto
moto: $(BIN)/umbel-moto ## umbel-moto, the AWS account that tests have

$(BIN)/umbel-moto: $(wildcard tools/moto/*)
	@scripts/install-deps.sh moto
	@echo "installing moto from PyPI"
	@rm -rf build/moto && python3 -m venv build/moto
	@build/moto/bin/pip install -q --disable-pip-version-check --no-deps -r tools/moto/requirements.txt
	@printf '#!/bin/sh\nexec %s %s "$$@"\n' $(CURDIR)/build/moto/bin/python $(CURDIR)/tools/moto/account.py > $@ && chmod +x $@

.PHONY: vcsim
vcsim: $(BIN)/umbel-vcsim ## umbel-vcsim, the vCenter that tests have

$(BIN)/umbel-vcsim: $(wildcard tools/vcsim/*)
	@mkdir -p $(BIN)
	@echo "building umbel-vcsim; the first time this takes half a minute"
	@cd tools/vcsim && $(GO_BUILD) -ldflags '-s -w' -o $@ .

# The engines of others, to measure beside our own and to test against. Each wants its own versions of Kubernetes' libraries.
PEER_SOURCES := $(shell find test/peers -name '*.go' -o -name 'go.*')

.PHONY: peers
peers: $(BIN)/fluxssa $(BIN)/gitopsengine $(BIN)/cliutils ## the engines of Flux, Argo CD and Config Sync, as programs that apply a folder

$(BIN)/fluxssa: $(PEER_SOURCES)
	@mkdir -p $(BIN)
	@echo "building fluxssa; the first time this takes a minute or two"
	@cd test/peers && $(GO_BUILD) -ldflags '-s -w' -o $@ ./fluxssa

$(BIN)/gitopsengine: $(PEER_SOURCES)
	@mkdir -p $(BIN)
	@echo "building gitopsengine; the first time this takes a minute or two"
	@cd test/peers/gitopsengine && $(GO_BUILD) -ldflags '-s -w' -o $@ .

$(BIN)/cliutils: $(PEER_SOURCES)
	@mkdir -p $(BIN)
	@echo "building cliutils; the first time this takes a minute"
	@cd test/peers/cliutils && $(GO_BUILD) -ldflags '-s -w' -o $@ .

# The page of the web console is built with Node, and committed: who builds the hub needs none. `npm ci` would refuse the lock file, for one
# of Vite's optional packages, which is for Windows, is in no registry: `npm install` takes all others as the lock file has them.
console/node_modules/.package-lock.json: console/package-lock.json
	@scripts/install-deps.sh console
	@scripts/node.sh npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: console
console: console/node_modules/.package-lock.json ## the page of the web console, from console/; commit what it changes
	@scripts/node.sh npm run --silent build

.PHONY: check-console
check-console: console/node_modules/.package-lock.json ## fail when the committed page is not what its sources give
	@rm -rf build/console && scripts/node.sh npm run --silent build -- --outDir ../build/console --logLevel error
	@diff -rq build/console internal/console/dist || { echo "the page of the console differs from its sources: run 'make console' and commit" >&2; exit 1; }

.PHONY: console-test
console-test: deps build console/node_modules/.package-lock.json ## somebody looks after a fleet in a real browser; CONSOLE_PHOTOS=DIR keeps photographs of each page
	$(GO_TEST) -tags e2e -count 1 -timeout 25m ./test/console

.PHONY: bench-console
bench-console: build console/node_modules/.package-lock.json ## the console with 5,000 clusters of 20 packages and 100,000 Deployments: lists on the server, first paint and heap in Chromium
	@go build -o $(BIN)/bench-console ./test/console/bench
	@UMBEL_HOME=$$(mktemp -d); export UMBEL_HOME; trap 'trap "" INT TERM; $(BIN)/umbel local delete bench >/dev/null; rm -rf $$UMBEL_HOME' EXIT; trap 'exit 130' INT TERM; \
		$(BIN)/umbel local create bench --nodes=0 && \
		$(BIN)/umbel-kube kubectl --kubeconfig $$UMBEL_HOME/local/bench/kubeconfig apply --server-side -f deploy/crds >/dev/null && \
		$(BIN)/bench-console -api $$UMBEL_HOME/local/bench/kubeconfig

# A fifth of two processors has nothing to do while the tests run under the race detector: what only others' engines are wanted for is built then.
# The stories wait for their clusters a lot: what needs a processor and no nodes goes beside them. The console's comes after them: a browser lets go of
# its connections whenever a link comes or goes on the machine, as those of the stories' nodes do.
.PHONY: test
test: deps build lint check-generate check-console kube dex registry helm capd ## everything that has to hold before a change lands
	@$(MAKE) --no-print-directory -j2 GO_BUILD="nice $(GO_BUILD)" unit sops peers metrics-server contract
	@$(MAKE) --no-print-directory -j2 e2e net real simulate
	@$(MAKE) --no-print-directory console-test

.PHONY: test-all
test-all: kube-before test ## the same, with the real Kubernetes of the minor before in the story of an upgrade: ten minutes more

# What is internal runs under the race detector, and not once more without it.
.PHONY: unit
unit: kube dex registry helm capd capv vcsim ## tests of single packages, under the race detector, against a real API server where they need one
	@scripts/install-deps.sh unit
	@scripts/install-deps.sh race
	$(GO_RACE) -timeout 20m ./internal/...
	cd tools/azure && $(GO_TEST) ./...
	cd tools/vsphere && $(GO_TEST) ./...
	cd tools/aws && $(GO_TEST) ./...
	cd kube/capi && $(GO_TEST) ./await

.PHONY: real
real: kube helm registry peers prometheus promtool alertmanager ## tests on what others made: their manifests, their charts, their engines
	@scripts/install-deps.sh unit
	$(GO_TEST) -timeout 20m -p 1 $$(go list ./... | grep -v '^umbel.dev/umbel/internal/')

SCHEDULES ?= 100000
.PHONY: simulate
simulate: ## play SCHEDULES random schedules of rollouts, and check every step; ROLLOUT_SEED=N plays one again and shows its log
	ROLLOUT_SCHEDULES=$(SCHEDULES) nice $(GO_TEST) -count 1 -timeout 60m -run '^TestSimulation' -v ./internal/rollout

.PHONY: e2e
e2e: deps build dex sops capd contract helm metrics-server ## the main job and the laws, on real clusters
	$(GO_TEST) -tags e2e -count 1 -timeout 60m ./test/e2e/

# Not in `make test`: most of its minutes are Cluster API's provider waiting to try again. VCENTER_AWAY=10m has the vCenter be away for that long.
.PHONY: vsphere
vsphere: deps build capi capv vcsim vsphere-program ## the story of clusters in vSphere: a real kubelet for each machine of a simulated vCenter
	$(GO_TEST) -tags e2e,vsphere -count 1 -timeout 60m -run '^TestClustersInVSphere$$' -v ./test/e2e/

.PHONY: aws
aws: deps build capi capd capa kubeadm moto aws-program ## clusters in AWS: a control plane over three zones, and the stories: real kubelets for the instances of a simulated account
	cd tools/aws && $(GO_TEST) -tags aws -count 1 -timeout 5m ./...
	$(GO_TEST) -tags aws -count 1 -timeout 10m -v ./internal/lifecycle/computertest/
	$(GO_TEST) -tags aws -count 1 -timeout 40m -run 'InAWS$$' -v ./internal/lifecycle/capi/
	$(GO_TEST) -tags e2e,aws -count 1 -timeout 60m -run 'InAWS$$' -v ./test/e2e/

.PHONY: azure
azure: kube capi capd capz ## Cluster API's provider for Azure is started, refused by a stand-in for Azure, and let in; nothing runs there
	$(GO_TEST) -tags azure -count 1 -timeout 20m -run '^TestTheProviderForAzure$$' -v ./internal/lifecycle/capi/

.PHONY: net
net: deps kube ## agents and streams on lines that are bad, cut, slow or flooded
	$(GO_TEST) -tags e2e -count 1 -timeout 30m -p 1 ./test/net/...

.PHONY: bench
bench: deps build ## measure start, the way through the hub, commit to applied, apply and repair; writes build/bench/*.json
	go run ./test/bench
	@$(MAKE) --no-print-directory bench-lifecycle bench-metrics

.PHONY: bench-peers
bench-peers: deps build peers ## the same objects applied by the engines of Flux, Argo CD and Config Sync and by Umbel, on the same cluster; writes build/bench/peers.json
	go run ./test/bench -only peers

.PHONY: bench-reach
bench-reach: deps build ## measure the way to a cluster through its hub against the direct one; writes build/bench/reach.json
	go run ./test/bench -only reach

.PHONY: bench-snapshot
bench-snapshot: deps build capi ## measure a snapshot of a cluster of 10,000 objects, the way back to it, sleep and waking; writes build/bench/snapshot.json
	go run ./test/bench -only snapshot

.PHONY: bench-lifecycle
bench-lifecycle: deps build capi capd kube-before ## measure clusters: made, fifty control planes, upgraded, ended, and 500 of Cluster API's provider in memory
	go run ./test/bench -only start,planes
	go run ./test/bench -only grow
	go run ./test/bench -only clusters

CHAOS ?= 1h
.PHONY: chaos
chaos: kube ## an hour of cuts, drawn from a seed, while streams run: none lies about its end, nothing leaks; SEED=N does it again
	CHAOS=$(CHAOS) SEED=$(SEED) nice go test -tags e2e -count 1 -timeout 0 -v -run '^TestChaos$$' ./test/net

.PHONY: bench-placement
bench-placement: ## what a change of one label costs with 1,000 placements and 100, 1,000 and 10,000 clusters
	go test ./internal/placement -run '^$$' -bench LabelChange

AGENTS := 100,1000,10000
.PHONY: bench-scale
bench-scale: build ## what a hub costs with 100, 1,000 and 10,000 agents; writes build/bench/scale-*.json
	go run ./test/scale -agents $(AGENTS)

.PHONY: bench-metrics
bench-metrics: build ## what it costs a hub to keep 1,000 series of each of 1,000 clusters, and to answer queries; writes build/bench/metrics.json
	go run ./test/scale -metrics 1000x1000

FUZZTIME ?= 20s
.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME
	@scripts/fuzz.sh $(FUZZTIME)

.PHONY: lint
lint: $(BIN)/staticcheck ## gofmt, go vet, staticcheck
	@test -z "$$(gofmt -l api cmd deploy examples internal test kube | tee /dev/stderr)"
	GOGC=400 go vet -tags e2e,vsphere,aws,azure ./...
	GOGC=400 $(BIN)/staticcheck -tags e2e,vsphere,aws,azure ./...

.PHONY: generate
generate: $(BIN)/controller-gen $(BIN)/protoc-gen-go ## deep copies, CRDs, the hub's rights and messages
	@scripts/install-deps.sh generate
	PATH="$(BIN):$$PATH" go generate ./api/... ./deploy/...

.PHONY: check-generate
check-generate: generate ## fail when what is generated is not what is committed
	@git diff --exit-code -- api deploy/crds deploy/infrastructure deploy/chart/files || { echo "generated files differ: run 'make generate' and commit" >&2; exit 1; }

$(BIN)/controller-gen $(BIN)/protoc-gen-go $(BIN)/staticcheck: tools/go.mod tools/go.sum
	@mkdir -p $(BIN)
	@cd tools && $(GO_BUILD) -o $(BIN)/ sigs.k8s.io/controller-tools/cmd/controller-gen google.golang.org/protobuf/cmd/protoc-gen-go honnef.co/go/tools/cmd/staticcheck

# A real Prometheus, which takes what the hub writes on, promtool, which asks the hub, and an Alertmanager with its templates, which the hub tells: Debian's, taken out of their packages.
.PHONY: prometheus promtool alertmanager
prometheus: $(BIN)/prometheus ## prometheus, to which tests have a hub write on
promtool: $(BIN)/promtool ## promtool, with which tests ask a hub
alertmanager: $(BIN)/alertmanager ## alertmanager, which tests have a hub tell of alerts

$(BIN)/prometheus $(BIN)/promtool: scripts/debian-program.sh
	@mkdir -p $(BIN)
	@echo "taking $(@F) out of Debian's package"
	@scripts/debian-program.sh prometheus usr/bin/$(@F) $@

$(BIN)/alertmanager: scripts/debian-program.sh
	@mkdir -p $(BIN)
	@echo "taking alertmanager out of Debian's package"
	@for name in default email; do scripts/debian-program.sh prometheus-alertmanager usr/share/prometheus/alertmanager/$$name.tmpl $@-$$name.tmpl || exit 1; done
	@scripts/debian-program.sh prometheus-alertmanager usr/bin/prometheus-alertmanager $@

# Helm itself: tests install the hub's chart with it, and pack and push charts as people do.
.PHONY: helm
helm: $(BIN)/helm ## helm, with which tests pack, push and install charts

$(BIN)/helm: tools/go.mod tools/go.sum
	@mkdir -p $(BIN)
	@cd tools && $(GO_BUILD) -o $@ helm.sh/helm/v4/cmd/helm

.PHONY: clean
clean: ## delete what was built
	rm -rf build
