package local

import (
	"context"
	"path/filepath"

	"umbel.dev/umbel/internal/lifecycle/local/machine"
)

// State says whether a cluster's machine runs.
type State string

// The states.
const (
	Running State = "Running"
	Stopped State = "Stopped"
)

// Cluster is a local cluster as people see it.
type Cluster struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	Nodes int    `json:"nodes"`
	// Server is the URL of the API, which the host reaches.
	Server string `json:"server"`
	// Kubeconfig is the path of the administrator's kubeconfig.
	Kubeconfig  string `json:"kubeconfig"`
	PodCIDR     string `json:"podCIDR,omitempty"`
	ServiceCIDR string `json:"serviceCIDR"`
	// Link is the host's end of the machine's network link: `ip link set LINK down` cuts the cluster off.
	Link string `json:"link,omitempty"`
	// Namespace is the machine's network namespace, as `ip netns` lists it.
	Namespace string `json:"namespace,omitempty"`
	// PID is the first process of the machine; killing it is a power cut.
	PID int `json:"pid,omitempty"`
	// Dir holds all of the cluster, logs/ for one.
	Dir string `json:"dir"`
}

// List returns the clusters of the data folder, by name.
func (l *Local) List(ctx context.Context) ([]Cluster, error) {
	records, err := l.records()
	if err != nil {
		return nil, err
	}
	clusters := make([]Cluster, 0, len(records))
	for _, r := range records {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		cluster, err := l.describe(r)
		if err != nil {
			return nil, err
		}
		clusters = append(clusters, cluster)
	}
	return clusters, nil
}

func (l *Local) describe(r record) (Cluster, error) {
	dir := l.dir(r.Name)
	spec := r.machineSpec(dir, l.needs.Binaries, machine.Host{})
	plane, err := spec.ControlPlane()
	if err != nil {
		return Cluster{}, err
	}
	cluster := Cluster{
		Name:        r.Name,
		State:       Stopped,
		Nodes:       r.Nodes,
		Server:      plane.URL(),
		Kubeconfig:  filepath.Join(dir, "kubeconfig"),
		ServiceCIDR: spec.ServiceCIDR.String(),
		Dir:         dir,
	}
	if r.Fleet != nil {
		cluster.PodCIDR = spec.PodCIDR.String()
		cluster.Link = r.Fleet.Link(r.node())
		cluster.Namespace = r.Fleet.Namespace(r.node())
	}
	if cluster.PID, err = machine.PID(dir); err != nil {
		return Cluster{}, err
	}
	if cluster.PID != 0 {
		cluster.State = Running
	}
	return cluster, nil
}
