// Package intake is `umbel import`: it takes the clusters of another fleet over into this one, by what that fleet exports of them.
//
// It reads what `gcloud container aws|azure|attached clusters describe` (or list) and `… node-pools describe` (or list) print, as YAML or JSON,
// and writes MemberClusters, each with labels of where it is and a note of what it was. It reaches no cluster and asks no cloud: `umbel join`
// does the first, with the cluster's kubeconfig, and refuses a cluster that is not the one of the note.
//
//  1. Each document is a cluster, a pool of nodes, or a list of such; anything else is an error that names file, document and field.
//  2. A cluster that is being made or ended, or is broken, is left out, and said.
//  3. Where one is in the hub already, its labels and its note are set, and others stay.
//
// The API that printed this is gkemulticloud.googleapis.com/v1. Its clusters on AWS and Azure end with it, on 2027-03-17, and are to be built
// anew: --rebuild says by which commands. Those that were only attached stay, and are joined.
package intake
