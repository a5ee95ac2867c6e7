// Command components writes what a provider of Cluster API is made of, as its project releases it: it builds each folder
// that is named with kustomize, and prints one stream of YAML.
package main

import (
	"fmt"
	"os"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const header = `# Cluster API's own manifests, built from its Go module. Copyright The Kubernetes Authors, licensed under the Apache License,
# Version 2.0: http://www.apache.org/licenses/LICENSE-2.0
`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(folders []string) error {
	fmt.Print(header)
	for _, dir := range folders {
		made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
		if err != nil {
			return fmt.Errorf("building the manifests of %s: %w", dir, err)
		}
		text, err := made.AsYaml()
		if err != nil {
			return err
		}
		fmt.Printf("---\n%s", text)
	}
	return nil
}
