// Package vcentertest answers: what is a vCenter to tests? It is govmomi's simulator (umbel-vcsim, which `make vcsim` builds), with
// credentials that are checked, and a computer of the test's that its machines boot on. It can be out of reach, its datastores can be full, it can
// refuse to power machines on, and its hosts can fail. What it has, and where, it lists.
package vcentertest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"umbel.dev/umbel/internal/lifecycle/linetest"
	"umbel.dev/umbel/internal/programtest"
)

// Machine is one that was cloned from the template.
type Machine struct {
	Name string
	// UUID is that of its BIOS.
	UUID string
	// Guest is what it was given to start with, by guestinfo key.
	Guest map[string]string
}

// Computer is what machines boot on.
type Computer interface {
	// Boot starts a machine that was powered on, and returns the address at which it is. It blocks the power-on. With an error the machine
	// is powered on and has no address, as one whose system does not start.
	Boot(ctx context.Context, m Machine) (address string, err error)
	// End ends a machine that was powered off or destroyed, or whose host has failed. It may not run, and is ended again when several of these happen.
	End(ctx context.Context, m Machine) error
}

// VCenter is the simulator.
type VCenter struct {
	// Address is HOST:PORT where it is a vCenter, for whoever has User and Password.
	Address, User, Password string

	computer Computer
	line     *linetest.Line

	mu      sync.Mutex
	full    bool
	refuses bool
	witness func(what string, m Machine)
	running map[string]Machine // by UUID
	heard   []string
}

// Start starts a vCenter, which ends with the test.
func Start(t testing.TB, computer Computer) *VCenter {
	t.Helper()
	c := &VCenter{User: "administrator@vsphere.local", Password: "right", computer: computer, running: map[string]Machine{}}
	told := httptest.NewServer(http.HandlerFunc(c.hear))
	t.Cleanup(told.Close)
	sim := exec.Command(programtest.Of(t, "umbel-vcsim"), "--machines", told.URL, "--user", c.User, "--password", c.Password)
	sim.Stderr = t.Output()
	out, err := sim.StdoutPipe()
	if err == nil {
		err = sim.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(sim.Process.Signal(syscall.SIGTERM), sim.Wait()); err != nil {
			t.Error(err)
		}
	})
	first, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	_, address, _ := strings.Cut(strings.TrimSpace(first), "https://")
	c.line = linetest.Lay(t, address)
	c.Address = c.line.Address
	return c
}

// Cut takes the vCenter out of reach: whoever is connected is cut off, and nobody else is let in. What it holds stays.
func (c *VCenter) Cut() { c.line.Cut() }

// Mend brings it back to where it was.
func (c *VCenter) Mend() error { return c.line.Mend() }

// Fill leaves no room in the datastores: what is cloned from now on fails.
func (c *VCenter) Fill() { c.set(&c.full, true) }

// Empty makes room again.
func (c *VCenter) Empty() { c.set(&c.full, false) }

// Refuse has no machine be powered on from now on.
func (c *VCenter) Refuse() { c.set(&c.refuses, true) }

// Allow has machines be powered on again.
func (c *VCenter) Allow() { c.set(&c.refuses, false) }

// Watch has somebody see what happens to machines, while it happens: cloned, powering-on, poweredOn, poweredOff, lost or destroyed.
func (c *VCenter) Watch(witness func(what string, m Machine)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.witness = witness
}

func (c *VCenter) set(what *bool, to bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*what = to
}

// Running returns the machines that were booted and have not ended, by their UUIDs.
func (c *VCenter) Running() []Machine {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []Machine
	for _, m := range c.running {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b Machine) int { return strings.Compare(a.UUID, b.UUID) })
	return all
}

// Heard returns what has happened to machines, a line each.
func (c *VCenter) Heard() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.heard)
}

// hear answers the simulator, which says what is happening to a machine and waits (tools/vcsim).
func (c *VCenter) hear(w http.ResponseWriter, r *http.Request) {
	var event struct {
		What string
		Machine
	}
	var answer struct {
		Address string `json:"address"`
		Full    bool   `json:"full"`
		Refused bool   `json:"refused"`
	}
	err := json.NewDecoder(r.Body).Decode(&event)
	c.mu.Lock()
	full, refuses, witness := c.full, c.refuses, c.witness
	c.mu.Unlock()
	if err == nil && witness != nil {
		witness(event.What, event.Machine)
	}
	switch {
	case err != nil:
	case event.What == "cloned":
		answer.Full = full
	case event.What == "powering-on":
		answer.Refused = refuses
	default:
		answer.Address, err = c.happens(r.Context(), event.What, event.Machine)
	}
	c.mu.Lock()
	c.heard = append(c.heard, fmt.Sprintf("%s %s: %+v %v", event.Name, event.What, answer, err))
	c.mu.Unlock()
	if err == nil {
		err = json.NewEncoder(w).Encode(answer)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (c *VCenter) happens(ctx context.Context, what string, m Machine) (address string, err error) {
	if what == "poweredOn" {
		address, err = c.computer.Boot(ctx, m)
	} else {
		err = c.computer.End(ctx, m)
	}
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.running, m.UUID)
	if what == "poweredOn" {
		c.running[m.UUID] = m
	}
	return address, nil
}
