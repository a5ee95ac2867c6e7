package describe

import "umbel.dev/umbel/internal/cli/view"

// next returns the steps that the conditions of a package and its states suggest.
func (d *packageDossier) next(moment view.Moment) []string {
	return moment.PackageSteps(d.Package, d.Clusters)
}

// next returns the steps that the conditions of a cluster suggest.
func (d *clusterDossier) next(moment view.Moment) []string {
	badNode := ""
	if d.Nodes != nil && len(d.Nodes.Troubles) > 0 {
		badNode = d.Nodes.Troubles[0].Node
	}
	return moment.ClusterSteps(d.Cluster, badNode)
}

// next returns the steps that the conditions of a placement suggest.
func (d *placementDossier) next() []string { return view.PlacementSteps(d.Placement) }

// inNamespace is the flag that a command needs for an object there.
func inNamespace(namespace string) string { return view.InNamespace(namespace) }
