package controlplane

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// The flags of each component, complete: nothing is taken from the environment.

func (c *ControlPlane) etcdFlags() []string {
	client, peer := c.EtcdURL(), c.PeerURL()
	name, members, state := c.config.Name, "", "new"
	if m := c.config.Member; m != nil {
		name = m.Name
		if len(m.Join) > 0 {
			members, state = strings.Join(m.Join, ","), "existing"
		}
	}
	return []string{
		"--name=" + name,
		"--data-dir=" + c.path(dataDir),
		"--listen-client-urls=" + client,
		"--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer,
		"--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=" + cmp.Or(members, name+"="+peer),
		"--initial-cluster-state=" + state,
		"--cert-file=" + c.pki("etcd.crt"),
		"--key-file=" + c.pki("etcd.key"),
		"--client-cert-auth",
		"--trusted-ca-file=" + c.pki("etcd-ca.crt"),
		"--peer-cert-file=" + c.pki("etcd.crt"),
		"--peer-key-file=" + c.pki("etcd.key"),
		"--peer-client-cert-auth",
		"--peer-trusted-ca-file=" + c.pki("etcd-ca.crt"),
		"--quota-backend-bytes=8589934592",
		"--log-level=warn",
	}
}

func (c *ControlPlane) apiserverFlags() []string {
	flags := []string{
		"--bind-address=" + c.listen().String(),
		"--advertise-address=" + c.own().String(),
		"--secure-port=" + strconv.Itoa(c.config.Ports.API),
		"--etcd-servers=" + c.EtcdURL(),
		"--etcd-cafile=" + c.pki("etcd-ca.crt"),
		"--etcd-certfile=" + c.pki("etcd-client.crt"),
		"--etcd-keyfile=" + c.pki("etcd-client.key"),
		"--tls-cert-file=" + c.pki("apiserver.crt"),
		"--tls-private-key-file=" + c.pki("apiserver.key"),
		"--client-ca-file=" + c.pki("ca.crt"),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--profiling=false",
		"--kubelet-client-certificate=" + c.pki("kubelet-client.crt"),
		"--kubelet-client-key=" + c.pki("kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-cluster-ip-range=" + c.config.ServiceCIDR.String(),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + c.pki("service-account.pub"),
		"--service-account-signing-key-file=" + c.pki("service-account.key"),
		"--requestheader-client-ca-file=" + c.pki("front-proxy-ca.crt"),
		"--requestheader-allowed-names=" + frontProxyUser,
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--audit-policy-file=" + c.path(auditPolicyFile),
		"--audit-log-path=" + c.AuditLog(),
		"--audit-log-maxsize=20",
		"--audit-log-maxbackup=3",
		"--audit-log-maxage=30",
		"--audit-log-compress=true",
		"--proxy-client-cert-file=" + c.pki("front-proxy-client.crt"),
		"--proxy-client-key-file=" + c.pki("front-proxy-client.key"),
	}
	flags = append(flags, c.enrolmentFlags()...)
	if c.config.Services == ByEndpoint {
		flags = append(flags, "--enable-aggregator-routing=true") // it says so of webhooks as well
	}
	if c.own().IsLoopback() {
		// An EndpointSlice may not hold a loopback address, and no pod is there to use it.
		flags = append(flags, "--endpoint-reconciler-type=none")
	}
	return flags
}

// enrolmentFlags say how machines come to be nodes, and so who may ask without being known, and by what kubelets are.
func (c *ControlPlane) enrolmentFlags() []string {
	if c.config.Enrolment != ByToken {
		return []string{"--anonymous-auth=false", "--kubelet-certificate-authority=" + c.pki("ca.crt")}
	}
	return []string{"--authentication-config=" + c.path(anonymousFile), "--enable-bootstrap-token-auth=true"}
}

func (c *ControlPlane) controllerManagerFlags() []string {
	kubeconfig := c.path("controller-manager.kubeconfig")
	flags := []string{
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--secure-port=0",
		"--profiling=false",
		"--use-service-account-credentials=true",
		// Each of some forty controllers makes its service account first. At the default of 20 requests a second
		// that alone takes four seconds; the API server has its own priority and fairness.
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
		"--service-account-private-key-file=" + c.pki("service-account.key"),
		"--root-ca-file=" + c.pki("ca.crt"),
		"--cluster-signing-cert-file=" + c.pki("ca.crt"),
		"--cluster-signing-key-file=" + c.pki("ca.key"),
		"--cluster-name=" + c.config.Name,
	}
	if c.config.Enrolment == ByToken {
		flags = append(flags, "--controllers=*,bootstrap-signer-controller,token-cleaner-controller")
	}
	flags = append(flags, c.electionFlags()...)
	if c.config.PodCIDR.IsValid() {
		flags = append(flags,
			"--allocate-node-cidrs=true",
			"--cluster-cidr="+c.config.PodCIDR.String(),
			"--service-cluster-ip-range="+c.config.ServiceCIDR.String(),
		)
	}
	return flags
}

func (c *ControlPlane) schedulerFlags() []string {
	kubeconfig := c.path("scheduler.kubeconfig")
	return append([]string{
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--secure-port=0",
		"--profiling=false",
	}, c.electionFlags()...)
}

// electionFlags have one of several members at work. A lease is short: it is what the one that comes after a kill waits for.
func (c *ControlPlane) electionFlags() []string {
	if c.config.Member == nil {
		return []string{"--leader-elect=false"}
	}
	return []string{"--leader-elect-lease-duration=8s", "--leader-elect-renew-deadline=6s", "--leader-elect-retry-period=1s"}
}

// apiHosts are the names and addresses that the API's certificate is valid for.
func (c *ControlPlane) apiHosts() []string {
	hosts := []string{
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		"localhost", "127.0.0.1",
		FirstService(c.config.ServiceCIDR).String(),
	}
	for _, address := range []netip.Addr{c.config.Address, c.own()} {
		if !slices.Contains(hosts, address.String()) {
			hosts = append(hosts, address.String())
		}
	}
	return append(hosts, c.config.Hosts...)
}

// FirstService returns the cluster IP of the Service default/kubernetes, the first address of the range.
func FirstService(services netip.Prefix) netip.Addr {
	return services.Masked().Addr().Next()
}
