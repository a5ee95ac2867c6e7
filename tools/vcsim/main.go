// Command umbel-vcsim is the vCenter of tests: govmomi's simulator, whose virtual machines boot where somebody wants them to.
//
// What its inventory is, layOut says (inventory.go). What happens to a machine (it is cloned, powered on or off, or destroyed) is posted to
// --machines as JSON (Event) while vCenter's task for it goes on; the answer says whether the datastore is full, whether the power-on is refused,
// or at which address the guest is (Answer). Credentials are --user and --password; others are refused.
//
// Beside the API of a vCenter it has two paths for tests: GET /umbel/inventory lists what there is, as a client of that API sees it (Inventory),
// and POST /umbel/host?name=NAME&state=notResponding has a host fail, state=connected brings it back.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"github.com/vmware/govmomi/simulator"
	_ "github.com/vmware/govmomi/vapi/simulator" // tags, which zones are known by
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listen := flag.String("listen", "127.0.0.1:0", "HOST:PORT where it is a vCenter")
	machines := flag.String("machines", "", "URL that is told what happens to machines")
	user := flag.String("user", "administrator@vsphere.local", "who may sign in")
	password := flag.String("password", "", "by which password")
	flag.Parse()
	if err := run(ctx, *listen, *machines, url.UserPassword(*user, *password)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen, machines string, who *url.Userinfo) error {
	model := simulator.VPX()
	defer model.Remove()
	model.Cluster, model.ClusterHost, model.Host, model.Pool, model.Datastore, model.Machine, model.Autostart = 2, 2, 0, 1, 2, 1, false
	if err := model.Create(); err != nil {
		return fmt.Errorf("making the inventory: %w", err)
	}
	tell := teller{url: machines}
	model.Map().Handler = calls{tell: tell}.take
	model.Map().AddHandler(&watcher{tell: tell})
	model.Service.TLS = new(tls.Config)
	model.Service.Listen = &url.URL{Host: listen, User: who}
	model.Service.RegisterEndpoints = true
	c := &center{model: model, tell: tell}
	model.Service.HandleFunc("/umbel/inventory", c.list)
	model.Service.HandleFunc("/umbel/host", c.host)
	server := model.Service.NewServer() // closing it would wait for who has died while it waited for news
	c.url = server.URL
	if err := c.layOut(ctx); err != nil {
		return fmt.Errorf("making the inventory: %w", err)
	}
	fmt.Printf("a vCenter serves at https://%s\n", server.URL.Host)
	<-ctx.Done()
	return nil
}
