// Package awstest answers: what is an account of AWS to tests? It is moto (umbel-moto, which `make moto` builds), with credentials that are
// checked, a computer of the test's that its instances boot on, and a load balancer before them. Its services can be out of reach, and it can refuse to
// run instances, or more of them than a quota says.
package awstest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"umbel.dev/umbel/internal/lifecycle/linetest"
	"umbel.dev/umbel/internal/programtest"
)

// Instance is a machine that the account was asked to run.
type Instance struct {
	// ID is its name in AWS, and Name its tag Name.
	ID, Name string
	// Zone is where it is.
	Zone string
	// UserData is what cloud-init finds in it.
	UserData string
}

// ProviderID is the instance as Kubernetes knows it.
func (i Instance) ProviderID() string { return fmt.Sprintf("aws:///%s/%s", i.Zone, i.ID) }

// Computer is what instances boot on.
type Computer interface {
	// Boot starts an instance, and returns the address at which it is on this computer. It blocks what else happens to the instance, and nothing
	// else: AWS calls it running meanwhile. With an error it is as one whose system does not start.
	Boot(ctx context.Context, i Instance) (address string, err error)
	// End ends an instance that was terminated. It may not run.
	End(ctx context.Context, i Instance) error
}

// services are those that have an address of their own, by the names that Cluster API's provider has for them. It has no use for the quotas, umbel-aws has.
var services = []string{"ec2", "elasticloadbalancing", "s3", "sts", "secretsmanager", "ssm", "tagging", "servicequotas"}

// Account is moto.
type Account struct {
	// Key and Secret sign in to its services, in Region.
	Region, Key, Secret string

	desk     string                    // of umbel-moto, for what is no service of AWS
	lines    map[string]*linetest.Line // to each service
	computer Computer

	mu        sync.Mutex
	running   map[string]Instance // by ID
	addresses map[string]string   // likewise, on this computer
	heard     []string
}

// Start starts an account, which ends with the test. balancers is an address of this computer at which its load balancers are; without one they
// have names that are in nobody's DNS.
func Start(t testing.TB, computer Computer, balancers string) *Account {
	t.Helper()
	a := &Account{computer: computer, lines: map[string]*linetest.Line{}, running: map[string]Instance{}, addresses: map[string]string{}}
	told := httptest.NewServer(http.HandlerFunc(a.hear))
	t.Cleanup(told.Close)
	moto := exec.Command(programtest.Of(t, "umbel-moto"), "--machines", told.URL, "--balancers", balancers)
	moto.Stderr = t.Output()
	out, err := moto.StdoutPipe()
	if err == nil {
		err = moto.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := moto.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		_ = moto.Wait() // it has no other end
	})
	first, err := bufio.NewReader(out).ReadBytes('\n')
	said := struct{ URL, Region, Key, Secret, Desk string }{}
	if err = errors.Join(err, json.Unmarshal(first, &said)); err != nil {
		t.Fatalf("umbel-moto begins with %q: %v", first, err)
	}
	for _, service := range services {
		a.lines[service] = linetest.Lay(t, strings.TrimPrefix(said.URL, "http://"))
	}
	a.Region, a.Key, a.Secret, a.desk = said.Region, said.Key, said.Secret, said.Desk
	if balancers != "" {
		a.balance(t, balancers)
	}
	return a
}

// Cut takes services out of reach, all of AWS where none is named: whoever is connected is cut off, and nobody else is let in. What the account holds
// stays, and instances run on.
func (a *Account) Cut(names ...string) {
	for _, line := range a.linesTo(names) {
		line.Cut()
	}
}

// Mend brings what was cut back to where it was.
func (a *Account) Mend(names ...string) error {
	var all []error
	for _, line := range a.linesTo(names) {
		all = append(all, line.Mend())
	}
	return errors.Join(all...)
}

// linesTo returns the lines to services, to all of them where none is named.
func (a *Account) linesTo(names []string) []*linetest.Line {
	if len(names) == 0 {
		names = services
	}
	var all []*linetest.Line
	for _, name := range names {
		all = append(all, a.lines[name])
	}
	return all
}

// Refuse has AWS run no instance from now on, and say why by one of its codes and a message.
func (a *Account) Refuse(ctx context.Context, code, message string) error {
	return a.ask(ctx, http.MethodPost, "/refusal", map[string]string{"code": code, "message": message}, nil)
}

// Accept has it run instances again.
func (a *Account) Accept(ctx context.Context) error {
	return a.ask(ctx, http.MethodPost, "/refusal", map[string]string{}, nil)
}

// Limit has AWS run no more virtual CPUs than that, and say so when it is asked for its quota.
func (a *Account) Limit(ctx context.Context, cores int) error {
	return a.ask(ctx, http.MethodPost, "/quota", map[string]int{"cores": cores}, nil)
}

// Endpoints is what Cluster API's provider for AWS is to be given as --service-endpoints.
func (a *Account) Endpoints() string {
	var all []string
	for _, service := range services {
		all = append(all, service+"=http://"+a.lines[service].Address)
	}
	return a.Region + ":" + strings.Join(all, ",")
}

// Holds returns what there is in the account, a line each.
func (a *Account) Holds(ctx context.Context) ([]string, error) {
	byKind := map[string][]string{}
	if err := a.ask(ctx, http.MethodGet, "/holds", nil, &byKind); err != nil {
		return nil, err
	}
	var all []string
	for _, kind := range slices.Sorted(maps.Keys(byKind)) {
		for _, name := range byKind[kind] {
			all = append(all, kind+": "+name)
		}
	}
	return all, nil
}

// ask asks at the desk.
func (a *Account) ask(ctx context.Context, method, path string, say, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute) // a busy machine is late
	defer cancel()
	var body io.Reader
	if say != nil {
		raw, err := json.Marshal(say)
		if err != nil {
			return err
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.desk+path, body)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking the account: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // it is only read
	if answer == nil {
		answer = new(any)
	}
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		return fmt.Errorf("asking the account at %s: %w", req.URL, err)
	}
	return nil
}

// Running returns the instances that were booted and have not ended, by their IDs.
func (a *Account) Running() []Instance {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.SortedFunc(maps.Values(a.running), func(x, y Instance) int { return strings.Compare(x.ID, y.ID) })
}

// Heard returns what has happened to instances, a line each.
func (a *Account) Heard() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.heard)
}

// hear answers umbel-moto, which says what has happened to an instance.
func (a *Account) hear(w http.ResponseWriter, r *http.Request) {
	var event struct {
		What string
		Instance
	}
	err := json.NewDecoder(r.Body).Decode(&event)
	if err == nil {
		err = a.happens(r.Context(), event.What, event.Instance)
	}
	a.mu.Lock()
	a.heard = append(a.heard, fmt.Sprintf("%s (%s) %s: %v", event.Name, event.ID, event.What, err))
	a.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (a *Account) happens(ctx context.Context, what string, i Instance) error {
	var address string
	var err error
	if what == "started" {
		address, err = a.computer.Boot(ctx, i)
	} else {
		err = a.computer.End(ctx, i)
	}
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.running, i.ID)
	delete(a.addresses, i.ID)
	if what == "started" {
		a.running[i.ID], a.addresses[i.ID] = i, address
	}
	return nil
}
