// Command umbel-registry is the OCI registry that tests keep artifacts and charts in: the reference implementation of
// github.com/distribution/distribution, unchanged, with what tests ask of it and none of its clouds.
//
//	umbel-registry serve CONFIG.yaml
package main

import (
	"os"

	"github.com/distribution/distribution/v3/registry"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/auth/token"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

func main() {
	if err := registry.RootCmd.Execute(); err != nil {
		os.Exit(1)
	}
}
