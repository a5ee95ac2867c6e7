// Package client answers: how does a command reach the hub, and what does it say when it cannot?
//
// A Factory holds what every command needs: streams, the data folder, the kubeconfig and the clock. Connect turns it
// into a Hub, a client of controller-runtime for the hub's API.
//
//  1. The kubeconfig is the one of --kubeconfig or UMBEL_KUBECONFIG, else the one that `umbel login` left in the data folder,
//     else the admin.kubeconfig of the hub there. $KUBECONFIG and ~/.kube/config are not asked: they speak of members, and a command that changes the
//     wrong cluster because of a forgotten variable is worse than one more flag.
//  2. The kinds that commands use are known to the client beforehand: no discovery, a `umbel refresh` in a Git hook
//     costs one connection and two requests.
//  3. Every command passes its error through Hub.Explain (most by OnHub), which makes a sentence of it that ends with the next step.
//
// It knows no verb and keeps nothing.
package client
