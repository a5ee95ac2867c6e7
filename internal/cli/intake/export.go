package intake

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/yaml"

	"umbel.dev/umbel/api/v1alpha1"
)

// platform is what a cluster runs on.
type platform string

const (
	onAWS    platform = "gke-on-aws"
	onAzure  platform = "gke-on-azure"
	attached platform = "attached" // somebody else's; its distribution is said instead: eks, aks, generic
)

// foreign is a cluster of another fleet.
type foreign struct {
	// resource is its name there, in full.
	resource string
	// name is what it is called, project and region where it is.
	name, project, region string
	platform              platform
	// distribution of one that was only attached.
	distribution string
	// version is that of its Kubernetes.
	version string
	// issuer signs the tokens of its service accounts, by which it can be told from every other cluster; empty when that was not exported.
	issuer string
	state  string
	// pods and services are its ranges of addresses; empty for one that was only attached.
	pods, services string
	// admins are the users and groups that it lets do everything.
	admins []string
	pools  []pool
}

// pool is some of its nodes.
type pool struct {
	name     string
	min, max int64
	labels   map[string]string
	taints   []taint
}

type taint struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Effect string `json:"effect"`
}

// document is what the API has of a cluster, or of a pool of nodes, with the names of its JSON.
type document struct {
	Name              string `json:"name"`
	State             string `json:"state"`
	AWSRegion         string `json:"awsRegion"`
	AzureRegion       string `json:"azureRegion"`
	ClusterRegion     string `json:"clusterRegion"`
	Distribution      string `json:"distribution"`
	KubernetesVersion string `json:"kubernetesVersion"`
	ControlPlane      struct {
		Version string `json:"version"`
	} `json:"controlPlane"`
	Networking struct {
		Pods     []string `json:"podAddressCidrBlocks"`
		Services []string `json:"serviceAddressCidrBlocks"`
	} `json:"networking"`
	OIDC struct {
		Issuer string `json:"issuerUrl"`
	} `json:"oidcConfig"`
	Workloads struct {
		Issuer string `json:"issuerUri"`
	} `json:"workloadIdentityConfig"`
	Authorization struct {
		Users []struct {
			Name string `json:"username"`
		} `json:"adminUsers"`
		Groups []struct {
			Name string `json:"group"`
		} `json:"adminGroups"`
	} `json:"authorization"`
	Config struct {
		Labels map[string]string `json:"labels"`
		Taints []taint           `json:"taints"`
	} `json:"config"`
	Autoscaling struct {
		Min int64 `json:"minNodeCount"`
		Max int64 `json:"maxNodeCount"`
	} `json:"autoscaling"`
}

var (
	clusterName = regexp.MustCompile(`^projects/([^/]+)/locations/([^/]+)/(awsClusters|azureClusters|attachedClusters)/([^/]+)$`)
	poolName    = regexp.MustCompile(`^(projects/[^/]+/locations/[^/]+/(?:awsClusters|azureClusters)/[^/]+)/(?:awsNodePools|azureNodePools)/([^/]+)$`)
)

// export is what files have in them.
type export struct {
	clusters []foreign
	pools    map[string][]pool // by the resource of their cluster
}

// read adds what a file has in it. Several problems are reported at once.
func (e *export) read(file string, content []byte) error {
	var problems []error
	found := 0
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
	for n := 1; ; n++ {
		var raw any
		err := decoder.Decode(&raw)
		if errors.Is(err, io.EOF) {
			break
		}
		where := fmt.Sprintf("%s, document %d", file, n)
		if err != nil {
			return errors.Join(append(problems, fmt.Errorf("%s: it is neither YAML nor JSON: %w", where, err))...)
		}
		many, list, err := documents(raw)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", where, err))
			continue
		}
		for i, d := range many {
			at := where
			if list {
				at = fmt.Sprintf("%s[%d]", where, i)
			}
			found++
			if err := e.add(d); err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", at, err))
			}
		}
	}
	if found == 0 && len(problems) == 0 {
		problems = append(problems, fmt.Errorf("%s: it has no cluster in it: `gcloud container aws|azure|attached clusters describe NAME --location LOCATION` prints one", file))
	}
	return errors.Join(problems...)
}

// documents returns what a document is, or is a list of.
func documents(raw any) (many []document, list bool, err error) {
	content, err := json.Marshal(raw)
	if err != nil {
		return nil, false, err
	}
	switch raw.(type) {
	case nil:
		return nil, false, nil
	case []any:
		if err := json.Unmarshal(content, &many); err != nil {
			return nil, true, fmt.Errorf("it is no list of clusters: %w", err)
		}
		return many, true, nil
	}
	var one document
	if err := json.Unmarshal(content, &one); err != nil {
		return nil, false, fmt.Errorf("it is no cluster: %w", err)
	}
	return []document{one}, false, nil
}

// add takes a document in.
func (e *export) add(d document) error {
	if of := poolName.FindStringSubmatch(d.Name); of != nil {
		if e.pools == nil {
			e.pools = map[string][]pool{}
		}
		e.pools[of[1]] = append(e.pools[of[1]], pool{
			name: of[2], min: d.Autoscaling.Min, max: d.Autoscaling.Max, labels: d.Config.Labels, taints: d.Config.Taints,
		})
		return nil
	}
	named := clusterName.FindStringSubmatch(d.Name)
	if named == nil {
		return fmt.Errorf("name: %q is no name of a cluster of GKE on AWS or Azure or of one that is attached, nor of a pool of nodes: "+
			"it is projects/P/locations/L/awsClusters|azureClusters|attachedClusters/NAME, as `gcloud … describe` prints it", d.Name)
	}
	c := foreign{
		resource: d.Name, project: named[1], region: named[2], name: named[4], state: d.State,
		version: cmp.Or(d.ControlPlane.Version, d.KubernetesVersion), issuer: cmp.Or(d.OIDC.Issuer, d.Workloads.Issuer),
		pods: first(d.Networking.Pods), services: first(d.Networking.Services),
	}
	switch named[3] {
	case "awsClusters":
		c.platform = onAWS
	case "azureClusters":
		c.platform = onAzure
	default:
		c.platform, c.distribution = attached, d.Distribution
	}
	c.region = cmp.Or(d.AWSRegion, d.AzureRegion, d.ClusterRegion, c.region)
	for _, u := range d.Authorization.Users {
		c.admins = append(c.admins, "user "+u.Name)
	}
	for _, g := range d.Authorization.Groups {
		c.admins = append(c.admins, "group "+g.Name)
	}
	if i := slices.IndexFunc(e.clusters, func(other foreign) bool { return other.resource == c.resource }); i >= 0 {
		e.clusters[i] = c // the same one, exported again
		return nil
	}
	e.clusters = append(e.clusters, c)
	return nil
}

func first(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

// whole returns the clusters with their pools, by name, and says what does not fit together.
func (e *export) whole() ([]foreign, error) {
	var problems []error
	named := map[string]string{}
	all := slices.SortedFunc(slices.Values(e.clusters), func(a, b foreign) int {
		return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.resource, b.resource))
	})
	rest := maps.Clone(e.pools)
	for i := range all {
		c := &all[i]
		if other, taken := named[c.name]; taken {
			problems = append(problems, fmt.Errorf("%s and %s have the same name: import one of them alone, with --name", other, c.resource))
		}
		named[c.name] = c.resource
		c.pools = e.pools[c.resource]
		slices.SortFunc(c.pools, func(a, b pool) int { return strings.Compare(a.name, b.name) })
		delete(rest, c.resource)
	}
	for _, resource := range slices.Sorted(maps.Keys(rest)) {
		problems = append(problems, fmt.Errorf("there are pools of nodes of %s, and not that cluster: give its file too", resource))
	}
	return all, errors.Join(problems...)
}

// goes says why a cluster is not to be imported; empty when it is.
func (c foreign) goes() string {
	switch c.state {
	case "PROVISIONING":
		return "is still being made"
	case "STOPPING":
		return "is being ended"
	case "ERROR":
		return "is broken beyond repair"
	}
	return ""
}

// ends says whether the cluster goes with the service that made it.
func (c foreign) ends() bool { return c.platform != attached }

// labels are those by which Placements can select it.
func (c foreign) labels() map[string]string {
	of := map[string]string{"platform": string(c.platform), "region": c.region, "project": c.project}
	if c.platform == attached {
		of["platform"] = cmp.Or(c.distribution, "generic")
	}
	for key, value := range of {
		if value == "" || len(validation.IsValidLabelValue(value)) > 0 {
			delete(of, key)
		}
	}
	return of
}

// rebuild returns the commands that make a cluster of this shape after a class, and what they leave out.
func (c foreign) rebuild(name, class string) (commands, without []string) {
	create := fmt.Sprintf("umbel cluster create %s --class %s --workers 0", name, class)
	if c.pods != "" {
		create += " --pods " + c.pods
	}
	if c.services != "" {
		create += " --services " + c.services
	}
	labels := c.labels()
	delete(labels, "platform") // it is another one then
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		create += fmt.Sprintf(" --labels %s=%s", key, labels[key])
	}
	commands = append(commands, create)
	for _, p := range c.pools {
		add := fmt.Sprintf("umbel cluster pool add %s %s", name, p.name)
		if p.min == p.max {
			add += fmt.Sprintf(" --workers %d", p.max)
		} else {
			add += fmt.Sprintf(" --min %d --max %d", p.min, p.max)
		}
		for _, key := range slices.Sorted(maps.Keys(p.labels)) {
			if !v1alpha1.ReachesNodes(key) {
				without = append(without, fmt.Sprintf("label %s=%s of pool %s: Cluster API brings those of node.cluster.x-k8s.io and node-restriction.kubernetes.io to nodes", key, p.labels[key], p.name))
				continue
			}
			add += fmt.Sprintf(" --labels %s=%s", key, p.labels[key])
		}
		for _, t := range p.taints {
			effect, known := effects[t.Effect]
			if !known {
				without = append(without, fmt.Sprintf("taint %s=%s of pool %s: its effect is %q", t.Key, t.Value, p.name, t.Effect))
				continue
			}
			add += fmt.Sprintf(" --taint %s=%s:%s", t.Key, t.Value, effect)
		}
		commands = append(commands, add)
	}
	for _, admin := range c.admins {
		without = append(without, fmt.Sprintf("%s, who may do everything there: `umbel scope create` says who may do what here", admin))
	}
	return commands, without
}

// effects of taints, as that API calls them.
var effects = map[string]string{"NO_SCHEDULE": "NoSchedule", "PREFER_NO_SCHEDULE": "PreferNoSchedule", "NO_EXECUTE": "NoExecute"}
