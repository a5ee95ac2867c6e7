// Package deploy exports what installing Umbel takes: the generated CRDs, admission policies, and the manifests of the agent. It
// holds no logic. Beside them is the Helm chart of a hub of several replicas (chart/), whose rules are generated.
package deploy

import "embed"

//go:generate controller-gen rbac:roleName=umbel-hub paths=../internal/... output:rbac:dir=chart/files

// CRDs holds the CustomResourceDefinitions of umbel.dev as YAML files below crds/.
//
//go:embed crds/*.yaml
var CRDs embed.FS

// Multicluster holds the CustomResourceDefinitions of SIG-Multicluster below multicluster/. They belong to everybody: they
// are installed where they are missing, and never changed.
//
//go:embed multicluster/*.yaml
var Multicluster embed.FS

// Monitoring holds the CustomResourceDefinitions of Prometheus' operator that a hub needs, as that project releases them (Apache-2.0). They are
// installed where they are missing, and never changed.
//
//go:embed monitoring/*.yaml
var Monitoring embed.FS

// PrometheusRuleCRD is its file in Monitoring.
const PrometheusRuleCRD = "monitoring/monitoring.coreos.com_prometheusrules.yaml"

// Rules holds the PrometheusRules that a hub is shipped with, below rules/. People change and delete them.
//
//go:embed rules/*.yaml
var Rules embed.FS

// Infrastructure holds the CustomResourceDefinitions of infrastructure.umbel.dev as YAML files below infrastructure/. They are
// installed while there is the Provider local.
//
//go:embed infrastructure/*.yaml
var Infrastructure embed.FS

// Their files in Multicluster.
const (
	ClusterProfileCRD    = "multicluster/multicluster.x-k8s.io_clusterprofiles.yaml"
	PlacementDecisionCRD = "multicluster/multicluster.x-k8s.io_placementdecisions.yaml"
	ClusterPropertyCRD   = "multicluster/about.k8s.io_clusterproperties.yaml"
)

// Policies holds what the API of a hub checks beside the kinds themselves, as YAML files below policies/ of one or more
// documents.
//
//go:embed policies/*.yaml
var Policies embed.FS

// Agent is a template (text/template) of the manifests that `umbel join` installs on a member. Its fields are
// AdminGroup, Bootstrap, BootstrapSum, Image, StorageClass, AuditDir, AuditMount and AuditArg. Without an Image there is no Deployment; without a
// StorageClass the agent's state is in a folder of its node; without an AuditDir it reads no audit log. The function json quotes a value.
//
//go:embed agent.yaml
var Agent string
