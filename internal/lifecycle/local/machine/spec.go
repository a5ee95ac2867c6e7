package machine

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"umbel.dev/umbel/internal/kube/controlplane"
)

// Spec is what a machine is to be. It is kept in machine.json of its folder.
type Spec struct {
	// Cluster is the name of the cluster.
	Cluster string `json:"cluster"`
	// Node is the name of the node and the host name; empty where the cluster has no node, and needs no namespaces.
	Node string `json:"node,omitempty"`
	// Main is the machine with the cluster's control plane; nil where that is this one.
	Main *Main `json:"main,omitempty"`
	// Dir is the machine's folder, absolute and free of symbolic links.
	Dir string `json:"dir"`
	// Audit is the folder with the audit logs of all API servers of the cluster, in which each has one of its own, and which each machine
	// sees where it is; empty for a machine of an earlier build.
	Audit string `json:"audit,omitempty"`
	// Umbel and Kube are the paths of the umbel and umbel-kube binaries.
	Umbel string `json:"umbel"`
	Kube  string `json:"kube"`
	// Version of Kubernetes that Kube is; empty where nobody asked for one.
	Version     string             `json:"version,omitempty"`
	Address     netip.Addr         `json:"address"`
	Ports       controlplane.Ports `json:"ports"`
	ServiceCIDR netip.Prefix       `json:"serviceCIDR"`
	PodCIDR     netip.Prefix       `json:"podCIDR"`
	// NodePods is the part of PodCIDR whose addresses the pods of this node have. Without one there are none: the machine has the
	// control plane, and no kubelet.
	NodePods netip.Prefix `json:"nodePods"`
	Host     Host         `json:"host"`
	// Enrolment is how the cluster's machines come to be nodes.
	Enrolment controlplane.Enrolment `json:"enrolment,omitempty"`
	// Member is which member of a control plane the machine is that may have several. Address is then that of all of them.
	Member *controlplane.Member `json:"member,omitempty"`
}

// Main is where the machine with the control plane of a cluster is.
type Main struct {
	Dir     string     `json:"dir"`
	Address netip.Addr `json:"address"`
}

// Host is what the host machine has and lets a node do.
type Host struct {
	// CgroupRoot is the path of the machine's cgroup in each hierarchy, such as /umbel0-dev-0.
	CgroupRoot string `json:"cgroupRoot,omitempty"`
	// PodCgroups says whether the kubelet can manage a cgroup per pod below CgroupRoot.
	PodCgroups bool `json:"podCgroups,omitempty"`
	// KeepOOMScore is set where the host lacks CAP_SYS_RESOURCE, which lowering an OOM score needs.
	KeepOOMScore bool `json:"keepOOMScore,omitempty"`
	// MasqueradeAll is set where the kernel does not filter bridged packets, so that replies to a pod from a pod
	// on the same bridge would miss the address translation.
	MasqueradeAll bool `json:"masqueradeAll,omitempty"`
	// Snapshotter is containerd's: overlayfs, or native where the folder is on an overlay itself.
	Snapshotter string `json:"snapshotter,omitempty"`
	// CNIDir holds the CNI plugins.
	CNIDir string `json:"cniDir,omitempty"`
}

// File names below Dir.
const (
	specFile = "machine.json"
	lockFile = "machine.lock"
	logsDir  = "logs"
)

// AuditFile is the name of an API server's audit log, in its folder of Spec.Audit.
const AuditFile = "audit.log"

// PauseImage is the image of the container that holds a pod's namespaces. It is imported, never pulled.
const PauseImage = "registry.umbel.dev/pause:v1"

// RegistriesDir is where containerd looks for how to reach a registry, below the machine's /var and, seen from the
// host, below var/ of its folder.
const RegistriesDir = "lib/registries"

// kubelet says whether the machine is a node.
func (s Spec) kubelet() bool { return s.Node != "" && s.NodePods.IsValid() }

// ControlPlane returns the control plane of the cluster.
func (s Spec) ControlPlane() (*controlplane.ControlPlane, error) {
	main := Main{Dir: s.Dir, Address: s.Address}
	if s.Main != nil {
		main = *s.Main
	}
	components := []controlplane.Component{controlplane.ControllerManager}
	if s.Node != "" {
		components = append(components, controlplane.Scheduler)
	}
	services := controlplane.ByAddress
	if s.Node != "" && !s.kubelet() {
		services = controlplane.ByEndpoint
	}
	return controlplane.New(controlplane.Config{
		Services:    services,
		Name:        s.Cluster,
		Dir:         filepath.Join(main.Dir, "kube"),
		Binary:      s.Kube,
		Address:     main.Address,
		Ports:       s.Ports,
		ServiceCIDR: s.ServiceCIDR,
		PodCIDR:     s.PodCIDR,
		Components:  components,
		Enrolment:   s.Enrolment,
		Member:      s.Member,
		AuditLog:    s.auditLog(),
	})
}

// auditLog is where the API server of this machine writes; empty for where a control plane does by itself.
func (s Spec) auditLog() string {
	if s.Audit == "" {
		return ""
	}
	return filepath.Join(s.Audit, cmp.Or(s.Node, s.Cluster), AuditFile)
}

// DNSAddress returns the cluster IP of the cluster's DNS: the tenth of the range, as is custom.
func (s Spec) DNSAddress() netip.Addr {
	address := s.ServiceCIDR.Masked().Addr()
	for range 10 {
		address = address.Next()
	}
	return address
}

// Save keeps the spec in its folder.
func (s Spec) Save() error {
	content, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(s.Dir, specFile), append(content, '\n'), 0o644)
}

// Load reads the spec of the machine in dir.
func Load(dir string) (Spec, error) {
	path := filepath.Join(dir, specFile)
	content, err := os.ReadFile(path)
	if err != nil {
		return Spec{}, fmt.Errorf("reading a machine: %w", err)
	}
	var spec Spec
	if err := json.Unmarshal(content, &spec); err != nil {
		return Spec{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return spec, nil
}
