package controlplane

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"umbel.dev/umbel/internal/kube/ports"
	"umbel.dev/umbel/internal/kube/process"
)

// Component is a process of the control plane beyond etcd and kube-apiserver, which are always there.
type Component string

// The components.
const (
	ControllerManager Component = "kube-controller-manager"
	Scheduler         Component = "kube-scheduler"
)

// Reach is how an API server reaches a Service.
type Reach string

const (
	// ByAddress dials its cluster IP: where the API server runs is a kube-proxy.
	ByAddress Reach = ""
	// ByEndpoint dials one of its pods: where the API server runs is no node.
	ByEndpoint Reach = "Endpoint"
)

// Enrolment is how a machine comes to the certificate of its kubelet.
type Enrolment string

const (
	// ByIssue has whoever makes the machine issue it: he has the cluster's CA.
	ByIssue Enrolment = ""
	// ByToken has the machine ask for it with a bootstrap token, as kubeadm does: whoever makes it has nothing but that.
	ByToken Enrolment = "Token"
)

// Ports are the TCP ports that a control plane listens on. Etcd and EtcdPeer are on 127.0.0.1.
type Ports struct {
	API      int `json:"api"`
	Etcd     int `json:"etcd"`
	EtcdPeer int `json:"etcdPeer"`
}

// FreePorts returns ports of 127.0.0.1 that nobody listens on now, and that are none of taken.
func FreePorts(taken ...Ports) (Ports, error) {
	var theirs []int
	for _, p := range taken {
		theirs = append(theirs, p.all()...)
	}
	found, err := ports.Free(3, theirs...)
	if err != nil {
		return Ports{}, err
	}
	return Ports{API: found[0], Etcd: found[1], EtcdPeer: found[2]}, nil
}

// AreFree says whether nobody listens on any of them on 127.0.0.1.
func (p Ports) AreFree() bool { return ports.AreFree(p.all()...) }

func (p Ports) all() []int { return []int{p.API, p.Etcd, p.EtcdPeer} }

// Config describes a control plane.
type Config struct {
	// Name names the cluster in its kubeconfigs and certificates.
	Name string
	// Dir holds all that it writes: pki/, etcd/ and *.kubeconfig.
	Dir string
	// Binary is the path of umbel-kube.
	Binary string
	// Address is where the API listens, and what it tells its pods. A loopback address is told to nobody.
	Address netip.Addr
	Ports   Ports
	// ServiceCIDR and PodCIDR are the ranges of cluster IPs and pods. PodCIDR may be zero where there are no nodes.
	ServiceCIDR netip.Prefix
	PodCIDR     netip.Prefix
	// Services says how the API server reaches them, for webhooks and aggregated APIs.
	Services Reach
	// Enrolment is how the cluster's machines come to be nodes.
	Enrolment Enrolment
	// Hosts are further names and addresses that the API's certificate is valid for.
	Hosts      []string
	Components []Component
	// Member makes it one of several, or one that may become one of several; nil for a control plane that stays alone.
	Member *Member
	// AuditLog is where the API server writes down who did what. The default is AuditLog(Dir).
	AuditLog string
}

// Member is one of the members of a control plane. Config.Address is then where the API of all of them is, and some member has it.
type Member struct {
	// Name is by what etcd knows it.
	Name string `json:"name"`
	// Address is the member's own: etcd serves its peers there, and the API those who mean this member.
	Address netip.Addr `json:"address"`
	// Join are the members that it joins, and itself, each as NAME=URL; none for the one that begins.
	Join []string `json:"join,omitempty"`
}

// ControlPlane is a planned control plane.
type ControlPlane struct {
	config Config
}

// New returns the control plane that config describes, or an error that names the field that does not fit.
func New(config Config) (*ControlPlane, error) {
	switch {
	case config.Name == "":
		return nil, errors.New("control plane: Name is empty")
	case !filepath.IsAbs(config.Dir):
		return nil, fmt.Errorf("control plane %q: Dir %q is not absolute", config.Name, config.Dir)
	case !filepath.IsAbs(config.Binary):
		return nil, fmt.Errorf("control plane %q: Binary %q is not absolute", config.Name, config.Binary)
	case !config.Address.IsValid():
		return nil, fmt.Errorf("control plane %q: Address is missing", config.Name)
	case !config.ServiceCIDR.IsValid():
		return nil, fmt.Errorf("control plane %q: ServiceCIDR is missing", config.Name)
	case config.PodCIDR.IsValid() && config.PodCIDR.Overlaps(config.ServiceCIDR):
		return nil, fmt.Errorf("control plane %q: PodCIDR %s overlaps ServiceCIDR %s", config.Name, config.PodCIDR, config.ServiceCIDR)
	}
	if c := config.Member; c != nil && (c.Name == "" || !c.Address.IsValid()) {
		return nil, fmt.Errorf("control plane %q: Member has no Name, or no Address", config.Name)
	}
	for _, port := range config.Ports.all() {
		if port < 1 || port > 65535 {
			return nil, fmt.Errorf("control plane %q: port %d is not within 1..65535", config.Name, port)
		}
	}
	return &ControlPlane{config: config}, nil
}

// URL is where the API is served.
func (c *ControlPlane) URL() string {
	return url(c.config.Address, c.config.Ports.API)
}

// AdminKubeconfig is the path of the kubeconfig for people who may do everything. Prepare writes it.
func (c *ControlPlane) AdminKubeconfig() string { return c.path("admin.kubeconfig") }

// AuditLog is where the API server of a control plane in dir writes down who did what, rotated. Prepare makes its folder, which
// is not the one of the hub's own audit log (audit) where both are in one.
func AuditLog(dir string) string { return filepath.Join(dir, "kube-audit", "audit.log") }

// AuditLog is where this API server does.
func (c *ControlPlane) AuditLog() string { return cmp.Or(c.config.AuditLog, AuditLog(c.config.Dir)) }

// CAFile is the path of the cluster CA's certificate. Prepare writes it.
func (c *ControlPlane) CAFile() string { return c.pki("ca.crt") }

// apiGrace is enough for requests in flight. The API server would also wait, for a minute, for everybody who watches;
// it has nothing of its own to save.
const apiGrace = 2 * time.Second

// Processes returns what to run, in the order in which it starts.
func (c *ControlPlane) Processes() []process.Process {
	processes := []process.Process{
		{
			Name:   "etcd",
			Path:   c.config.Binary,
			Args:   append([]string{"etcd"}, c.etcdFlags()...),
			Before: c.etcdBefore(),
			Ready:  c.etcdReady(),
		},
		{
			// Not after etcd: it takes longer to start than etcd does, and waits for it by itself.
			Name:  "kube-apiserver",
			Path:  c.config.Binary,
			Args:  append([]string{"kube-apiserver"}, c.apiserverFlags()...),
			Ready: c.probe(c.OwnURL()+"/readyz", "ca", "probe-client"),
			Grace: apiGrace,
		},
	}
	if slices.Contains(c.config.Components, ControllerManager) {
		processes = append(processes, c.afterAPI(ControllerManager, c.controllerManagerFlags()))
	}
	if slices.Contains(c.config.Components, Scheduler) {
		processes = append(processes, c.afterAPI(Scheduler, c.schedulerFlags()))
	}
	return processes
}

func (c *ControlPlane) afterAPI(component Component, flags []string) process.Process {
	return process.Process{
		Name:  string(component),
		Path:  c.config.Binary,
		Args:  append([]string{string(component)}, flags...),
		After: []string{"kube-apiserver"},
	}
}

// Collector returns a process that collects garbage and ends namespaces, for a control plane that has no other controllers.
func (c *ControlPlane) Collector() process.Process {
	flags := append(c.controllerManagerFlags(), "--controllers=garbage-collector-controller,namespace-controller")
	collector := c.afterAPI(ControllerManager, flags)
	collector.After = nil // whoever starts it has an API that serves
	return collector
}

func (c *ControlPlane) path(name string) string { return filepath.Join(c.config.Dir, name) }
func (c *ControlPlane) pki(name string) string  { return filepath.Join(c.config.Dir, "pki", name) }
