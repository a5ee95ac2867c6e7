package real

// Package is a folder of test/data that somebody would make a Package of.
type Package struct {
	// Name of it, and Folder below test/data.
	Name, Folder string
	// Components are added to its kustomization, as a variant does.
	Components []string
	// ValuesFiles in a chart, and Values over them and what the chart brings, as YAML.
	ValuesFiles []string
	Values      string
	// Refused is what the error says where the folder cannot be rendered as it is, by rule.
	Refused string
}

const (
	boutique = "online-boutique/kustomize"
	samples  = "config-sync-samples/"
	quota    = samples + "multi-cluster-access-and-quota/repos/platform/"
)

// Packages are all of them.
var Packages = []Package{
	{Name: "boutique-plain", Folder: "online-boutique/kubernetes-manifests"},
	{Name: "boutique", Folder: boutique},
	{Name: "boutique-memorystore", Folder: boutique + "/tests/memorystore-with-all-components"},
	{Name: "boutique-istio", Folder: boutique + "/tests/service-mesh-istio-with-all-components"},
	{Name: "boutique-spanner", Folder: boutique + "/tests/spanner-with-all-components"},
	{Name: "boutique-alloydb", Folder: boutique, Components: []string{"components/alloydb"}},
	{Name: "boutique-registry", Folder: boutique, Components: []string{"components/container-images-registry"}},
	{Name: "boutique-tags", Folder: boutique, Components: []string{"components/container-images-tag", "components/container-images-tag-suffix"}},
	{Name: "boutique-url", Folder: boutique, Components: []string{"components/custom-base-url", "components/non-public-frontend"}},
	{Name: "boutique-assistant", Folder: boutique, Components: []string{"components/shopping-assistant"}},
	{Name: "boutique-session", Folder: boutique, Components: []string{"components/single-shared-session", "components/without-loadgenerator"}},

	{Name: "boutique-chart", Folder: "online-boutique/helm-chart"},
	{Name: "boutique-chart-mesh", Folder: "online-boutique/helm-chart", Values: `
sidecars: {create: true}
authorizationPolicies: {create: true}
opentelemetryCollector: {create: true, projectId: shop-prod}
googleCloudOperations: {profiler: true, tracing: true, metrics: true}
seccompProfile: {enable: true}
serviceAccounts: {annotations: {iam.gke.io/gcp-service-account: shop@shop-prod.iam.gserviceaccount.com}, annotationsOnlyForCartservice: true}
frontend: {externalService: false, platform: gcp, virtualService: {create: true, hosts: [shop.example.com], gateway: {name: shop, namespace: ingress, labelKey: istio, labelValue: gateway}}}
`},
	{Name: "boutique-chart-small", Folder: "online-boutique/helm-chart", Values: `
images: {repository: registry.example.com/boutique, tag: v0.10.2}
adService: {create: false}
recommendationService: {create: false}
loadGenerator: {create: false}
securityContext: {enable: false}
cartDatabase: {type: spanner, connectionString: projects/shop/instances/carts/databases/carts, inClusterRedis: {create: false}}
frontend: {cymbalBranding: true, singleSharedSession: true, resources: {limits: {cpu: 1, memory: 1Gi}}}
`},

	{Name: "guestbook-chart", Folder: "argocd-examples/helm-guestbook"},
	{Name: "guestbook-chart-production", Folder: "argocd-examples/helm-guestbook", ValuesFiles: []string{"values-production.yaml"}, Values: `
replicaCount: 3
image: {tag: v6}
resources: {limits: {cpu: 100m, memory: 128Mi}, requests: {cpu: 50m}}
nodeSelector: {disktype: ssd}
tolerations: [{key: dedicated, operator: Equal, value: web, effect: NoSchedule}]
affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference: {matchExpressions: [{key: zone, operator: In, values: [a, b]}]}}]}}
`},
	{Name: "blue-green-chart", Folder: "argocd-examples/blue-green"},
	{Name: "blue-green-chart-more", Folder: "argocd-examples/blue-green", Values: "{replicaCount: 5, service: {port: 8080}, image: {tag: green}}"},
	{Name: "guestbook", Folder: "argocd-examples/guestbook"},
	{Name: "guestbook-kustomize", Folder: "argocd-examples/kustomize-guestbook"},
	{Name: "sock-shop", Folder: "argocd-examples/sock-shop"},
	{Name: "hooks-of-helm", Folder: "argocd-examples/helm-hooks", Refused: "this is a hook"},
	{Name: "hooks-of-argo", Folder: "argocd-examples/sync-waves", Refused: "this is a hook"},

	{Name: "quickstart-root", Folder: samples + "config-sync-quickstart/multirepo/root"},
	{Name: "quickstart-gamestore", Folder: samples + "config-sync-quickstart/multirepo/namespaces/gamestore"},
	{Name: "fleet-packages", Folder: samples + "fleet-packages-quickstart/config"},
	{Name: "foo-corp", Folder: samples + "foo-corp"},
	{Name: "kustomize-pipeline", Folder: samples + "kustomize-pipeline/source-config"},
	{Name: "locality", Folder: samples + "locality-specific-policy/config-root"},
	{Name: "locality-setup", Folder: samples + "locality-specific-policy/setup", Refused: "stands in"},
	{Name: "quota-east", Folder: quota + "configsync-src/clusters/cluster-east"},
	{Name: "quota-west", Folder: quota + "configsync-src/clusters/cluster-west"},
	{Name: "quota-east-a", Folder: quota + "configsync-src/clusters/cluster-east/namespaces/tenant-a"},
	{Name: "quota-east-b", Folder: quota + "configsync-src/clusters/cluster-east/namespaces/tenant-b"},
	{Name: "quota-east-c", Folder: quota + "configsync-src/clusters/cluster-east/namespaces/tenant-c"},
	{Name: "quota-west-a", Folder: quota + "configsync-src/clusters/cluster-west/namespaces/tenant-a"},
	{Name: "quota-west-b", Folder: quota + "configsync-src/clusters/cluster-west/namespaces/tenant-b"},
	{Name: "quota-west-c", Folder: quota + "configsync-src/clusters/cluster-west/namespaces/tenant-c"},
	{Name: "quota-east-compiled", Folder: quota + "configsync/clusters/cluster-east"},
	{Name: "quota-west-compiled", Folder: quota + "configsync/clusters/cluster-west"},
	{Name: "fan-out", Folder: samples + "multi-cluster-fan-out/repos/platform/configsync/all-clusters"},
	{Name: "environments-dev", Folder: samples + "multi-environments-kustomize/config-source/overlays/dev"},
	{Name: "environments-prod", Folder: samples + "multi-environments-kustomize/config-source/overlays/prod"},
	{Name: "inheritance", Folder: samples + "namespace-inheritance/config"},
	{Name: "inheritance-compiled", Folder: samples + "namespace-inheritance/compiled"},
}

// Elsewhere are the YAML files, or folders of them, that belong to no Package, with the reason.
var Elsewhere = map[string]string{
	"online-boutique/kubernetes-manifests/loadgenerator.yaml":              "its own kustomization leaves it out",
	samples + "kustomize-pipeline/build/cloudbuild.yaml":                   "for Cloud Build, no manifest",
	samples + "multi-environments-kustomize/config-source/cloudbuild.yaml": "for Cloud Build, no manifest",
	samples + "kustomize-pipeline/config-management.yaml":                  "installs Config Sync itself",
	samples + "multi-environments-kustomize/cloud-build-rendering":         "for gcloud, no manifests",
	samples + "multi-environments-kustomize/config-sync-rendering":         "for gcloud, no manifests",
}
