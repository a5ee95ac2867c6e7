package v1alpha1

//go:generate controller-gen object crd paths=. output:crd:dir=../../deploy/crds

// The kinds of SIG-Multicluster that the hub projects members and what Placements select as, from the module that we link.
//go:generate sh -c "controller-gen crd paths=sigs.k8s.io/cluster-inventory-api/apis/v1alpha1 output:crd:stdout | awk '/^---/{part++} part==1' > ../../deploy/multicluster/multicluster.x-k8s.io_clusterprofiles.yaml"
//go:generate sh -c "controller-gen crd paths=sigs.k8s.io/cluster-inventory-api/apis/v1alpha1 output:crd:stdout | awk '/^---/{part++} part==2' > ../../deploy/multicluster/multicluster.x-k8s.io_placementdecisions.yaml"
