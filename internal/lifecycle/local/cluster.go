package local

import (
	"context"
	"path/filepath"

	"umbel.dev/umbel/internal/kube/controlplane"
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
	Name string `json:"name"`
	// Owner says whose cluster it is; empty for one that was made by `umbel local create` or `umbel up`.
	Owner string `json:"owner,omitempty"`
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
	// Machines are those of further nodes, by number; Link, Namespace and PID above are of the main one, with the control plane.
	Machines []Machine `json:"machines,omitempty"`
	// Planes are those of the members of a control plane that has several, but the first.
	Planes []Machine `json:"planes,omitempty"`
	// Dir holds all of the cluster, logs/ for one.
	Dir string `json:"dir"`
}

// Machine is one that a further node of a cluster runs on.
type Machine struct {
	// Node is the name of its node.
	Node  string `json:"node"`
	State State  `json:"state"`
	// Address is the node's, Link the host's end of its network link, Namespace that of its network, and PID its first process.
	Address   string `json:"address"`
	Link      string `json:"link"`
	Namespace string `json:"namespace"`
	PID       int    `json:"pid,omitempty"`
	// Restored is the request by which the machine's control plane was restored last: its Node may be another since.
	Restored string `json:"-"`
	// Dir holds all of the machine, logs/ for one.
	Dir string `json:"dir"`
	// Lost says that nothing is there of what it had in Dir.
	Lost bool `json:"lost,omitempty"`
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
	main := r.place(dir, 0)
	plane, err := l.plane(main)
	if err != nil {
		return Cluster{}, err
	}
	cluster := Cluster{
		Name:        r.Name,
		Owner:       r.Owner,
		Nodes:       max(r.Nodes, len(r.Members)),
		Server:      plane.URL(),
		Kubeconfig:  filepath.Join(dir, "kubeconfig"),
		ServiceCIDR: r.services().String(),
		Dir:         dir,
	}
	if r.Fleet != nil {
		cluster.PodCIDR = r.pods().String()
		cluster.Link = r.Fleet.Link(main.host())
		cluster.Namespace = r.Fleet.Namespace(main.host())
	}
	if cluster.State, cluster.PID, err = stateOf(main); err != nil {
		return Cluster{}, err
	}
	for _, p := range r.places(dir)[1:] {
		m, err := p.describe()
		if err != nil {
			return Cluster{}, err
		}
		cluster.Machines = append(cluster.Machines, m)
	}
	for _, p := range r.furtherPlanes(dir) {
		m, err := p.describe()
		if err != nil {
			return Cluster{}, err
		}
		cluster.Planes = append(cluster.Planes, m)
	}
	return cluster, nil
}

// describe returns the machine. The cluster must have a fleet.
func (p place) describe() (m Machine, err error) {
	fleet := p.cluster.Fleet
	m = Machine{Node: p.node(), Address: p.address().String(), Link: fleet.Link(p.host()), Namespace: fleet.Namespace(p.host()), Restored: p.cluster.Restored, Dir: p.dir}
	m.State, m.PID, err = stateOf(p)
	m.Lost = !isThere(p.dir)
	return m, err
}

// plane returns the control plane of a cluster, by the place where that is.
func (l *Local) plane(main place) (*controlplane.ControlPlane, error) {
	return main.spec(main, l.needs.Binaries, machine.Host{}).ControlPlane()
}

// AuditLogBeside returns the pattern of the audit logs of the cluster that has the kubeconfig, empty when it is none of this computer.
func AuditLogBeside(kubeconfig string) string {
	path, err := filepath.Abs(kubeconfig)
	dir := filepath.Dir(path)
	if err == nil { // of the folder alone: the kubeconfig in it is a link to a file deeper in it
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil || !isThere(filepath.Join(dir, recordFile)) {
		return ""
	}
	return record{}.auditLog(dir)
}

func stateOf(p place) (State, int, error) {
	pid, err := machine.PID(p.dir)
	if err != nil || pid == 0 {
		return Stopped, 0, err
	}
	return Running, pid, nil
}
