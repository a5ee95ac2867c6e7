package vcentertest

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Inventory is what a vCenter lists.
type Inventory struct {
	// Things are all that it has, a line each: its kind and path; and the folders of its datastores. They are sorted.
	Things []string
	// Machines are sorted by their paths.
	Machines []Placed
}

// Placed is where a machine is: paths in the inventory.
type Placed struct {
	Path, Host, Pool string
	// Datastore is the one of its configuration.
	Datastore string
	// State is that of its power, such as poweredOn.
	State string
}

// Inventory lists what the vCenter has, also when it is out of reach for others. It has a datacenter DC0 with the clusters DC0_C0 and DC0_C1,
// tagged as the zones east and west, of two hosts each (DC0_C0_H0), a resource pool in each (DC0_C0_RP1), the folders east and west for
// machines, the datastores LocalDS_0 and LocalDS_1, the template node-template and a machine that is somebody else's.
func (c *VCenter) Inventory(ctx context.Context) (all Inventory, err error) {
	raw, err := c.ask(ctx, http.MethodGet, "/umbel/inventory")
	if err != nil {
		return all, err
	}
	return all, json.Unmarshal(raw, &all)
}

// Fail has a host fail, with the machines on it: the vCenter hears no more of it, and nothing that is asked for comes to them.
func (c *VCenter) Fail(ctx context.Context, host string) error {
	_, err := c.ask(ctx, http.MethodPost, "/umbel/host?state=notResponding&name="+url.QueryEscape(host))
	return err
}

// Return brings a host back that has failed. Its machines are powered off.
func (c *VCenter) Return(ctx context.Context, host string) error {
	_, err := c.ask(ctx, http.MethodPost, "/umbel/host?state=connected&name="+url.QueryEscape(host))
	return err
}

// ask asks the simulator itself, by another way than those who think that it is a vCenter.
func (c *VCenter) ask(ctx context.Context, method, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, "https://"+c.line.To+path, nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, response.Status, raw)
	}
	return raw, err
}
