package main

import (
	"fmt"
	"slices"
	"strings"
)

// Question is what is asked, about one cluster.
type Question struct {
	// Region is such as us-east-1.
	Region string `json:"region"`
	// Key, Secret and Token are an access key, the last one empty for a key that lasts. From says where they are kept, for people.
	Key    string `json:"key"`
	Secret string `json:"secret"`
	Token  string `json:"token,omitempty"`
	From   string `json:"from,omitempty"`
	// Endpoints are where services are, by their names (ec2, sts, servicequotas, tagging); AWS' own where nothing is said.
	Endpoints map[string]string `json:"endpoints,omitempty"`
	// Network is what a new cluster takes beside machines.
	Network *Network `json:"network,omitempty"`
	// Machines are those that are to come.
	Machines []Machines `json:"machines,omitempty"`
	// Cluster is its name, by which what was made for it is marked.
	Cluster string `json:"cluster,omitempty"`
}

// Network is how many VPCs, and addresses for NAT gateways.
type Network struct {
	VPCs      int64 `json:"vpcs"`
	Addresses int64 `json:"addresses"`
}

// Machines are some that are alike, in the words of an AWSMachineTemplate. Zone is empty for any.
type Machines struct {
	Number  int64  `json:"number"`
	Type    string `json:"type"`
	Image   string `json:"image,omitempty"`
	Profile string `json:"profile,omitempty"`
	Zone    string `json:"zone,omitempty"`
}

// Answer is what was found out.
type Answer struct {
	// Problems are what AWS would refuse, and Unknown what it did not say, in sentences.
	Problems []string `json:"problems,omitempty"`
	Unknown  []string `json:"unknown,omitempty"`
	// Sizes are what one of each of the machines has, in the order of the question; nothing where the region does not offer it.
	Sizes []Size `json:"sizes,omitempty"`
	// Left are the ARNs of what there is of a cluster, sorted.
	Left []string `json:"left,omitempty"`
}

// Size is what a machine has.
type Size struct {
	Cores     int64 `json:"cores"`
	MemoryMiB int64 `json:"memoryMiB"`
}

// quota is a limit of an account in a region, of which some is used and some is wanted.
type quota struct {
	service, code, name string
	used, wanted        float64
}

// The quotas that a cluster meets first, by AWS' codes.
func standardCores() quota {
	return quota{service: "ec2", code: "L-1216C47A", name: "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances, in vCPUs"}
}
func networks() quota  { return quota{service: "vpc", code: "L-F678F1CE", name: "VPCs per Region"} }
func addresses() quota { return quota{service: "ec2", code: "L-0263D0A3", name: "EC2-VPC Elastic IPs"} }

// exceeded says that a quota is too small; empty where it is not.
func (q quota) exceeded(region string, limit float64) string {
	if q.used+q.wanted <= limit {
		return ""
	}
	return fmt.Sprintf("quota %q in region %s: %.0f of %.0f are used, and the cluster needs %.0f: ask AWS for more (`aws service-quotas request-service-quota-increase --service-code %s --quota-code %s`), or take less",
		q.name, region, q.used, limit, q.wanted, q.service, q.code)
}

// standard says whether a type of instances counts for standardCores. Accelerated ones, those with much memory and others have quotas of their own.
func standard(kind string) bool {
	family := kind[:len(kind)-len(strings.TrimLeft(kind, "abcdefghijklmnopqrstuvwxyz"))]
	return slices.Contains([]string{"a", "c", "d", "h", "i", "im", "is", "m", "r", "t", "z"}, family)
}
