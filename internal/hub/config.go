package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"

	"umbel.dev/umbel/internal/hub/known"
	"umbel.dev/umbel/internal/kube/controlplane"
	"umbel.dev/umbel/internal/kube/ports"
)

// Dir is the hub's folder within a data folder.
func Dir(home string) string { return known.Dir(home) }

// AdminKubeconfig is the kubeconfig of a hub with an embedded API.
func AdminKubeconfig(home string) string { return known.AdminKubeconfig(home) }

// ProvidersDir is where the hub has what it needs to run providers of Cluster API, in a folder for each.
func ProvidersDir(home string) string { return filepath.Join(Dir(home), "providers") }

// LogFile is where a hub that was launched in the background writes its log.
func LogFile(home string) string { return filepath.Join(Dir(home), "logs", "hub.log") }

// AuditDir is where the hub writes down who did what.
func AuditDir(home string) string { return filepath.Join(Dir(home), "audit") }

// APIAuditLog is where the API server of a hub with an embedded API writes down what is done past the hub's door.
func APIAuditLog(home string) string { return controlplane.AuditLog(Dir(home)) }

// State is what the hub keeps in HOME/hub/config.json between starts, so that its addresses stay what its members and
// users know.
type State struct {
	// Ports of the embedded API.
	Ports controlplane.Ports `json:"ports"`
	// GatewayPort is where agents and people reach the hub.
	GatewayPort int `json:"gatewayPort"`
	// Address is what members dial, as HOST:PORT.
	Address string `json:"address"`
	// Authentication is the path of the AuthenticationConfiguration, if there is one.
	Authentication string `json:"authentication,omitempty"`
	// CAFile holds the certificate authority of the gateway. It exists once the hub has started. Where it is follows from
	// where the state is; programs that read the state find it there.
	CAFile string `json:"caFile"`
}

// Changes are what a start changes of the state.
type Changes struct {
	// Port is where the gateway listens, and Address what members dial, as HOST or HOST:PORT. Without them the state keeps
	// what it has, at first a free port of 127.0.0.1.
	Port    int
	Address string
	// Authentication is the path of an AuthenticationConfiguration, empty for none; nil keeps what the state has.
	Authentication *string
}

// LoadState reads the state of the hub in a data folder, or makes one with free ports, and changes it.
func LoadState(home string, changes Changes) (State, error) {
	s, err := ReadState(home)
	if errors.Is(err, fs.ErrNotExist) {
		s, err = newState(home)
	}
	if err != nil {
		return s, err
	}
	if changes.Port != 0 {
		host, dialled, err := net.SplitHostPort(s.Address)
		if err != nil {
			return s, fmt.Errorf("reading the address that members dial: %w", err)
		}
		if dialled == strconv.Itoa(s.GatewayPort) {
			s.Address = net.JoinHostPort(host, strconv.Itoa(changes.Port))
		}
		s.GatewayPort = changes.Port
	}
	if changes.Address != "" {
		s.Address = WithPort(changes.Address, s.GatewayPort)
	}
	if changes.Authentication != nil {
		s.Authentication = *changes.Authentication
	}
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return s, err
	}
	if err := os.MkdirAll(Dir(home), 0o700); err != nil {
		return s, fmt.Errorf("making the hub's folder: %w", err)
	}
	if err := renameio.WriteFile(statePath(home), raw, 0o600); err != nil {
		return s, fmt.Errorf("keeping the hub's state: %w", err)
	}
	return s, nil
}

// WithPort returns an address as HOST:PORT; where it names no port, with this one. IPv6 may be written without brackets.
func WithPort(address string, port int) string {
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address
	}
	return net.JoinHostPort(strings.Trim(address, "[]"), strconv.Itoa(port))
}

// ReadState reads the state of the hub in a data folder. The error is fs.ErrNotExist when there is none.
func ReadState(home string) (State, error) {
	var s State
	raw, err := os.ReadFile(statePath(home))
	if err != nil {
		return s, fmt.Errorf("reading the hub's state: %w", err)
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, fmt.Errorf("reading the hub's state in %s: %w", statePath(home), err)
	}
	s.CAFile = caFile(home) // the folder may have been moved
	return s, nil
}

func caFile(home string) string { return filepath.Join(Dir(home), "gateway-ca.crt") }

func statePath(home string) string { return filepath.Join(Dir(home), "config.json") }

func newState(home string) (State, error) {
	own, err := controlplane.FreePorts()
	if err != nil {
		return State{}, err
	}
	gateway, err := ports.Free(1, own.API, own.Etcd, own.EtcdPeer)
	if err != nil {
		return State{}, err
	}
	return State{
		Ports:       own,
		GatewayPort: gateway[0],
		Address:     netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(gateway[0])).String(),
		CAFile:      caFile(home),
	}, nil
}
