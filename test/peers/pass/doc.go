// Package pass answers: what does it cost another engine to bring a cluster to what a folder says?
//
// A program is a Start function, which makes an engine of a client configuration; everything else is here.
//
//  1. Read the flags and the kubeconfig, and make the engine.
//  2. Read the folder, have the engine apply it, and write what that took to standard output as one line of JSON.
//  3. With -repeat, do so again for each line of standard input: an engine that keeps a cache keeps it.
package pass
