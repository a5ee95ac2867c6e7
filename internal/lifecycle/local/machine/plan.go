package machine

import (
	"fmt"
	"path/filepath"

	"umbel.dev/umbel/internal/kube/process"
)

// containerdSocket is inside of the machine.
const containerdSocket = "/run/containerd/containerd.sock"

// Files returns the configuration files of the node's own processes: content by absolute path on the host.
func (s Spec) Files() map[string]string {
	if !s.kubelet() {
		return nil
	}
	return map[string]string{
		s.etc("containerd.toml"):   s.containerdConfig(),
		s.etc("kubelet.yaml"):      s.kubeletConfig(),
		s.etc("kube-proxy.yaml"):   s.kubeProxyConfig(),
		s.etc("resolv.conf"):       "# The machine has no resolver: nothing outside of the fleet can be reached.\n",
		s.etc(masqueradeFile):      s.masquerade(),
		s.cni("10-umbel.conflist"): s.cniConfig(),
	}
}

// Processes returns what runs in the machine, in the order in which it starts.
func (s Spec) Processes() ([]process.Process, error) {
	plane, err := s.planeProcesses()
	if err != nil || !s.kubelet() {
		return plane, err
	}
	containerd := process.Process{
		Name:  "containerd",
		Path:  "containerd",
		Args:  []string{"--config", s.etc("containerd.toml")},
		Ready: dials(containerdSocket),
	}
	kubelet := process.Process{
		Name:  "kubelet",
		Path:  s.Kube,
		Args:  []string{"kubelet", "--config=" + s.etc("kubelet.yaml"), "--kubeconfig=" + s.kube("kubelet.kubeconfig"), "--hostname-override=" + s.Node, "--node-ip=" + s.Address.String()},
		After: append([]string{"containerd"}, s.afterAPI()...), // its first look at each decides whether it waits five seconds
	}
	proxy := process.Process{
		Name:  "kube-proxy",
		Path:  s.Kube,
		Args:  []string{"kube-proxy", "--config=" + s.etc("kube-proxy.yaml")},
		After: s.afterAPI(),
	}
	// containerd is first, and so ends last: the kubelet needs it to the end.
	return append(append([]process.Process{containerd}, plane...), kubelet, proxy), nil
}

// collectEarly has Go's collector let a heap grow by half before it collects, and not to twice its size: a computer may have many control planes, and each
// API server holds a fifth less for it, 156 MB in place of 197 when it has just begun, for a tenth more of a processor by then.
const collectEarly = "GOGC=50"

// planeProcesses are those of the control plane, where it is on this machine.
func (s Spec) planeProcesses() ([]process.Process, error) {
	if s.Main != nil {
		return nil, nil
	}
	plane, err := s.ControlPlane()
	if err != nil {
		return nil, err
	}
	processes := plane.Processes()
	for i := range processes {
		processes[i].Env = append(processes[i].Env, collectEarly)
	}
	return processes, nil
}

// afterAPI is what has to be there before what needs the API starts. That of another machine cannot be waited for here.
func (s Spec) afterAPI() []string {
	if s.Main != nil {
		return nil
	}
	return []string{"kube-apiserver"}
}

// containerdConfig has containerd end, and so be started anew, where its part for Kubernetes does not come up, for want of inotify's
// instances for example: without it a node would look well and run nothing.
func (s Spec) containerdConfig() string {
	return fmt.Sprintf(`version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
required_plugins = ["io.containerd.grpc.v1.cri"]
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt"]

[grpc]
  address = %q

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  restrict_oom_score_adj = %t
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = %q
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = "/var/lib/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/var/%s"
`, containerdSocket, PauseImage, s.Host.KeepOOMScore, s.Host.Snapshotter, s.Host.CNIDir, RegistriesDir)
}

func (s Spec) kubeletConfig() string {
	enforce, oomScore := "[pods]", "-999"
	if !s.Host.PodCgroups {
		enforce = "[]"
	}
	if s.Host.KeepOOMScore {
		oomScore = "0"
	}
	return fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: %[1]s}
authorization:
  mode: Webhook
tlsCertFile: %[2]s
tlsPrivateKeyFile: %[3]s
containerRuntimeEndpoint: unix://%[4]s
clusterDomain: cluster.local
clusterDNS: [%[5]s]
resolvConf: %[6]s
cgroupDriver: cgroupfs
cgroupRoot: %[7]s
cgroupsPerQOS: %[8]t
enforceNodeAllocatable: %[9]s
oomScoreAdj: %[10]s
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
volumePluginDir: /var/lib/kubelet/volumeplugins
# The images that were imported could not be pulled again, and the disk is the host's: neither is the kubelet's to judge.
# What has to be free is an amount: of a large disk a hundredth is more than a cluster needs.
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard:
  memory.available: 100Mi
  nodefs.available: 200Mi
  nodefs.inodesFree: 10k
  imagefs.available: 200Mi
`, s.kube("pki/ca.crt"), s.kube("kubelet.crt"), s.kube("kubelet.key"), containerdSocket, s.DNSAddress(),
		s.etc("resolv.conf"), s.Host.CgroupRoot, s.Host.PodCgroups, enforce, oomScore)
}

func (s Spec) kubeProxyConfig() string {
	return fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: %s
clusterCIDR: %s
clientConnection: {kubeconfig: %s}
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
nftables: {masqueradeAll: %t}
oomScoreAdj: 0
# Left as the host has them: they are settings of the whole kernel.
conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`, s.Node, s.PodCIDR, s.kube("kube-proxy.kubeconfig"), s.Host.MasqueradeAll)
}

func (s Spec) cniConfig() string {
	return fmt.Sprintf(`{
  "cniVersion": "0.4.0",
  "name": "umbel",
  "plugins": [
    {
      "type": "bridge",
      "bridge": "cni0",
      "isGateway": true,
      "ipMasq": false,
      "hairpinMode": true,
      "ipam": {
        "type": "host-local",
        "dataDir": "/var/lib/cni/networks",
        "ranges": [[{"subnet": %q}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`, s.NodePods)
}

// masqueradeFile has the rules by which pods reach what is outside of the cluster.
const masqueradeFile = "masquerade.nft"

// masquerade is for packets that leave the cluster alone: a pod on another node is to see who calls. The CNI plugin would
// change those as well, since it knows this node's pods only.
func (s Spec) masquerade() string {
	return fmt.Sprintf(`table ip umbel {
	chain postrouting {
		type nat hook postrouting priority srcnat;
		ip saddr %[1]s ip daddr != { %[1]s, 224.0.0.0/4 } oifname "eth0" masquerade
	}
}
`, s.PodCIDR)
}

func (s Spec) etc(name string) string  { return filepath.Join(s.Dir, "etc", name) }
func (s Spec) kube(name string) string { return filepath.Join(s.Dir, "kube", name) }
func (s Spec) cni(name string) string  { return filepath.Join(s.Dir, "var/lib/cni/net.d", name) }
