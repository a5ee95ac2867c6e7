package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

// signInAWS reads the access key by which a place is reached, and its region.
func signInAWS(ctx context.Context, hub kube.Reader, p place) (question, error) {
	const static = "AWSClusterStaticIdentity"
	if kind := p.at("identityRef", "kind"); kind != static {
		return nil, fmt.Errorf("its identity is %s, whose credentials are not on the hub", cmp.Or(kind, "that of its provider"))
	}
	identity, err := p.identity(ctx, hub, static, kube.ObjectKey{Name: p.at("identityRef", "name")})
	if err != nil {
		return nil, err
	}
	secret, from, err := secretOf(ctx, hub, v1alpha1.SystemNamespace, text(identity, "spec", "secretRef"), "AccessKeyID", "SecretAccessKey", "SessionToken")
	if err != nil {
		return nil, err
	}
	q := question{"region": p.at("region"), "key": secret[0], "secret": secret[1], "from": from}
	if secret[2] != "" {
		q["token"] = secret[2]
	}
	providers := &v1alpha1.ProviderList{}
	if err := hub.List(ctx, providers); err != nil {
		return nil, fmt.Errorf("reading where AWS is from the Providers: %w", err)
	}
	for _, provider := range providers.Items {
		if where := endpointsIn(provider.Spec.Args, p.at("region")); len(where) > 0 {
			q["endpoints"] = where
		}
	}
	return q, nil
}

// endpointsIn returns where a provider is told that services of AWS are in a region, by their names: the flag is that of Cluster API's, of the
// form REGION:SERVICE=URL,...;REGION:...
func endpointsIn(args []string, region string) map[string]string {
	const flag = "--service-endpoints"
	where := map[string]string{}
	for i, arg := range args {
		value, is := strings.CutPrefix(arg, flag+"=")
		if arg == flag && i+1 < len(args) {
			value, is = args[i+1], true
		}
		if !is {
			continue
		}
		for one := range strings.SplitSeq(value, ";") {
			of, services, _ := strings.Cut(one, ":")
			if of != region {
				continue
			}
			for service := range strings.SplitSeq(services, ",") {
				if name, url, ok := strings.Cut(service, "="); ok {
					where[name] = url
				}
			}
		}
	}
	return where
}

// machinesInAWS reads what the instances of an AWSMachineTemplate are.
func machinesInAWS(_ context.Context, _ kube.Reader, template *unstructured.Unstructured, zone string) (question, error) {
	at := func(field ...string) string {
		return text(template, slices.Concat([]string{"spec", "template", "spec"}, field)...)
	}
	return question{"type": at("instanceType"), "image": at("ami", "id"), "profile": at("iamInstanceProfile"), "zone": zone}, nil
}

// usualZones is in how many zones Cluster API's provider makes a network that does not say.
const usualZones = 3

// networkInAWS is what is made for a new cluster: a VPC with a NAT gateway, and an address for that, in each zone. One that is there is given.
func networkInAWS(p place) question {
	if p.at("network", "vpc", "id") != "" {
		return nil
	}
	zones, _, _ := unstructured.NestedInt64(p.object.Object, slices.Concat(p.spec, []string{"network", "vpc", "availabilityZoneUsageLimit"})...)
	return question{"vpcs": 1, "addresses": cmp.Or(zones, usualZones)}
}
