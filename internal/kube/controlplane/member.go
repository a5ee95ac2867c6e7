package controlplane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"

	"umbel.dev/umbel/internal/identity"
)

// own is the address of this member.
func (c *ControlPlane) own() netip.Addr {
	if c.config.Member != nil {
		return c.config.Member.Address
	}
	return c.config.Address
}

// listen is where the API server listens: on every address of a member, since that of all members comes and goes.
func (c *ControlPlane) listen() netip.Addr {
	if c.config.Member != nil && !c.own().IsLoopback() {
		return netip.IPv4Unspecified()
	}
	return c.own()
}

// etcdAddress is where etcd listens. Where there are no other members nobody else is to reach it.
func (c *ControlPlane) etcdAddress() netip.Addr {
	if c.config.Member != nil {
		return c.config.Member.Address
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// OwnURL is where this member serves the API, URL where some member does.
func (c *ControlPlane) OwnURL() string { return url(c.own(), c.config.Ports.API) }

// EtcdURL is where this member's etcd serves its clients, and PeerURL where it serves the other members.
func (c *ControlPlane) EtcdURL() string { return url(c.etcdAddress(), c.config.Ports.Etcd) }

// PeerURL is where this member's etcd serves the other members.
func (c *ControlPlane) PeerURL() string { return url(c.etcdAddress(), c.config.Ports.EtcdPeer) }

func url(address netip.Addr, port int) string {
	return "https://" + netip.AddrPortFrom(address, uint16(port)).String()
}

func (c *ControlPlane) etcdHosts() []string {
	hosts := []string{"localhost", "127.0.0.1"}
	if address := c.etcdAddress().String(); !slices.Contains(hosts, address) {
		hosts = append(hosts, address)
	}
	return hosts
}

// EtcdTLS is how clients reach the etcd of a member. Prepare must have run.
func (c *ControlPlane) EtcdTLS() (*tls.Config, error) { return c.clientTLS("etcd-ca", "etcd-client") }

// clientTLS is for a client with that certificate, of a server that ca has signed.
func (c *ControlPlane) clientTLS(ca, client string) (*tls.Config, error) {
	anchor, err := os.ReadFile(c.pki(ca + ".crt"))
	if err != nil {
		return nil, err
	}
	pair, err := identity.LoadKeyPair(c.pki(client+".crt"), c.pki(client+".key"))
	if err != nil {
		return nil, err
	}
	cert, err := pair.TLS()
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(anchor)
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}}, nil
}

// HasData says whether this member's etcd has anything on its disk. It looks as etcd does, which begins anew in a folder without such
// a file.
func (c *ControlPlane) HasData() (bool, error) {
	entries, err := os.ReadDir(c.path("etcd/member/wal"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return filepath.Ext(e.Name()) == ".wal" }), nil
}

// beginFile is there when a member without data may start: when it begins a control plane, or has just been let into one.
const beginFile = "etcd.begin"

// MayBegin lets a member that has no data start, once.
func (c *ControlPlane) MayBegin() error {
	if err := os.MkdirAll(c.config.Dir, 0o700); err != nil {
		return err
	}
	return renameio.WriteFile(c.path(beginFile), nil, 0o600)
}

// startsFile has a byte for each start of a member's etcd since that has served last, and startsInVain is how many of them say that it
// will not: with the pauses between them they take some four seconds.
const startsFile, startsInVain = "etcd.starts", 6

// Stuck says whether this member's etcd ends whenever it is started: it cannot open its data.
func (c *ControlPlane) Stuck() (bool, error) {
	starts, err := os.Stat(c.path(startsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && starts.Size() >= startsInVain, err
}

// started notes a start of etcd, and served that it serves.
func (c *ControlPlane) started() error {
	file, err := os.OpenFile(c.path(startsFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(".")
	return errors.Join(err, file.Close())
}

func (c *ControlPlane) served() error {
	if err := os.Remove(c.path(startsFile)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// etcdReady says whether etcd serves.
func (c *ControlPlane) etcdReady() func(context.Context) error {
	probe := c.probe(c.EtcdURL()+"/health", "etcd-ca", "etcd-client")
	return func(ctx context.Context) error {
		if err := probe(ctx); err != nil {
			return err
		}
		return c.served()
	}
}

// Forget removes the data of this member's etcd. It must not be running.
func (c *ControlPlane) Forget() error {
	for _, name := range []string{beginFile, startsFile, dataDir} {
		if err := os.RemoveAll(c.path(name)); err != nil {
			return err
		}
	}
	return nil
}

// etcdBefore refuses the start of a member that has lost its data. It would come back as who it was, and know nothing of what it
// has promised to the others.
func (c *ControlPlane) etcdBefore() func() error {
	if c.config.Member == nil {
		return nil
	}
	return func() error {
		has, err := c.HasData()
		if err != nil {
			return err
		}
		err = os.Remove(c.path(beginFile))
		if errors.Is(err, fs.ErrNotExist) && !has {
			return fmt.Errorf("%s is empty, and nobody has let this member begin: it has lost its data, and is to be replaced", c.path("etcd"))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return c.started()
	}
}

// lasting are the keys that all members of a control plane have in common, and that last.
var lasting = []string{
	"ca.crt", "ca.key", "etcd-ca.crt", "etcd-ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "service-account.key",
}

// Inherit takes the keys that all members have in common from another member, whatever of them this one lacks.
func (c *ControlPlane) Inherit(from *ControlPlane) error {
	for _, name := range lasting {
		there, err := exists(c.pki(name))
		if err != nil {
			return err
		}
		content, readErr := os.ReadFile(from.pki(name))
		if there || errors.Is(readErr, fs.ErrNotExist) {
			continue
		}
		if readErr != nil {
			return readErr
		}
		if err := os.MkdirAll(filepath.Dir(c.pki(name)), 0o700); err != nil {
			return err
		}
		if err := renameio.WriteFile(c.pki(name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
