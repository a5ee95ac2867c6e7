// Package peers holds the engines of others, each as a small program that applies a folder of manifests: for benchmarks beside our
// own (go run ./test/bench -only peers), and for tests of what other engines leave behind. It is a module of its own, since
// they want other versions of Kubernetes' libraries, and nothing of Umbel is linked with them.
//
//	fluxssa       FOLDER   github.com/fluxcd/pkg/ssa with the options of Flux's kustomize-controller
//	gitopsengine  FOLDER   Argo CD's gitops-engine with the options of Argo CD's application controller
//	cliutils      FOLDER   sigs.k8s.io/cli-utils with the options of Config Sync's reconciler, and its notes on each object
//
// What they leave out is what comes before an engine: fetching, and building with kustomize or Helm.
package peers
