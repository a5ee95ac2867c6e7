package main

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
)

// checking is a question and what was found out about it so far.
type checking struct {
	*Account
	Answer
	// sizes are those of the types that the region has, and images those that are there.
	sizes  map[string]Size
	images map[string]bool
}

func (c *checking) problem(format string, args ...any) {
	c.Problems = append(c.Problems, fmt.Sprintf(format, args...))
}

// each returns what the machines say, each once and sorted, without what is empty.
func (c *checking) each(of func(Machines) string) []string {
	var all []string
	for _, m := range c.q.Machines {
		if text := of(m); text != "" {
			all = append(all, text)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// lookForTypes looks whether the region, and each zone that is named, has instances of the types.
func (c *checking) lookForTypes(ctx context.Context) error {
	names := c.each(func(m Machines) string { return m.Type })
	if len(names) == 0 {
		return nil
	}
	of := filter("instance-type", names)
	err := pages(ctx, c.Account, "DescribeInstanceTypes", of, func(page struct {
		Page
		Types []struct {
			Name   string `xml:"instanceType"`
			Cores  int64  `xml:"vCpuInfo>defaultVCpus"`
			Memory int64  `xml:"memoryInfo>sizeInMiB"`
		} `xml:"instanceTypeSet>item"`
	}) {
		for _, one := range page.Types {
			c.sizes[one.Name] = Size{one.Cores, one.Memory}
		}
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		if c.sizes[name] == (Size{}) {
			c.problem("region %s has no instances of type %q (instanceType): `aws ec2 describe-instance-type-offerings --region %s` lists those that it has", c.q.Region, name, c.q.Region)
		}
	}
	for _, m := range c.q.Machines {
		c.Sizes = append(c.Sizes, c.sizes[m.Type])
	}
	return c.lookInZones(ctx, of)
}

func (c *checking) lookInZones(ctx context.Context, of url.Values) error {
	if len(c.each(func(m Machines) string { return m.Zone })) == 0 {
		return nil
	}
	offered := map[string]bool{}
	of.Set("LocationType", "availability-zone")
	err := pages(ctx, c.Account, "DescribeInstanceTypeOfferings", of, func(page struct {
		Page
		Offers []struct {
			Type string `xml:"instanceType"`
			Zone string `xml:"location"`
		} `xml:"instanceTypeOfferingSet>item"`
	}) {
		for _, one := range page.Offers {
			offered[one.Zone+" "+one.Type] = true
		}
	})
	if err != nil {
		return err
	}
	for _, m := range c.q.Machines {
		if m.Zone != "" && c.sizes[m.Type] != (Size{}) && !offered[m.Zone+" "+m.Type] {
			c.problem("zone %s has no instances of type %q: take another zone (failureDomain) of region %s, or another instanceType", m.Zone, m.Type, c.q.Region)
		}
	}
	return nil
}

// lookForImages looks whether the images are there, for this account.
func (c *checking) lookForImages(ctx context.Context) error {
	names := c.each(func(m Machines) string { return m.Image })
	if len(names) == 0 {
		return nil
	}
	var there struct {
		Images []string `xml:"imagesSet>item>imageId"`
	}
	if err := c.query(ctx, "ec2", "DescribeImages", filter("image-id", names), &there); err != nil {
		return err
	}
	for _, image := range there.Images {
		c.images[image] = true
	}
	for _, name := range names {
		if !c.images[name] {
			c.problem("region %s has no image %q (ami.id) that this account may use: images are of one region each, so name one of it", c.q.Region, name)
		}
	}
	return nil
}

// unwilling are AWS' codes for instances that would not be run.
var unwilling = []string{
	"UnauthorizedOperation", "NoSuchEntity", "InvalidParameterValue", "InvalidAMIID.NotFound", "InvalidAMIID.Unavailable", "InstanceLimitExceeded", "VcpuLimitExceeded", "OptInRequired", "Unsupported",
}

// tryToRun has AWS say whether it would run such instances, without running any. It says so by an error in any case.
func (c *checking) tryToRun(ctx context.Context) error {
	var tried []Machines
	for _, m := range c.q.Machines {
		kind := Machines{Type: m.Type, Image: m.Image, Profile: m.Profile}
		if c.sizes[m.Type] == (Size{}) || !c.images[m.Image] || slices.Contains(tried, kind) {
			continue
		}
		tried = append(tried, kind)
		run := url.Values{"DryRun": {"true"}, "ImageId": {m.Image}, "InstanceType": {m.Type}, "MinCount": {"1"}, "MaxCount": {"1"}}
		if m.Profile != "" {
			run.Set("IamInstanceProfile.Name", m.Profile)
		}
		err := c.query(ctx, "ec2", "RunInstances", run, &struct{}{})
		switch code := codeOf(err); {
		case code == "DryRunOperation", code == "VPCIdNotSpecified": // it would; there is no network yet
		case slices.Contains(unwilling, code):
			c.problem("AWS would run no instance of type %s of image %s with instance profile %q in region %s: %s: see that the key of %s may, and that the profile is there (`clusterawsadm bootstrap iam`)",
				m.Type, m.Image, m.Profile, c.q.Region, brief(err), c.q.From)
		case err != nil:
			return err
		}
	}
	return nil
}

// countCores holds the cores that come against those that may run. Types with quotas of their own are not counted, and that is said.
func (c *checking) countCores(ctx context.Context) error {
	q := standardCores()
	for _, m := range c.q.Machines {
		if standard(m.Type) {
			q.wanted += float64(m.Number * c.sizes[m.Type].Cores)
		} else {
			c.Unknown = append(c.Unknown, fmt.Sprintf("the quota of instances of type %s in region %s: it is not %q, and which it is is not known here", m.Type, c.q.Region, q.name))
		}
	}
	if q.wanted == 0 {
		return nil
	}
	err := pages(ctx, c.Account, "DescribeInstances", filter("instance-state-name", []string{"pending", "running"}), func(page struct {
		Page
		Instances []struct {
			Type      string  `xml:"instanceType"`
			Lifecycle string  `xml:"instanceLifecycle"` // such as spot
			Cores     float64 `xml:"cpuOptions>coreCount"`
			Threads   float64 `xml:"cpuOptions>threadsPerCore"`
		} `xml:"reservationSet>item>instancesSet>item"`
	}) {
		for _, i := range page.Instances {
			if i.Lifecycle == "" && standard(i.Type) {
				q.used += i.Cores * i.Threads
			}
		}
	})
	if err != nil {
		return err
	}
	return c.hold(ctx, q)
}

func (c *checking) countNetworks(ctx context.Context) error {
	if c.q.Network == nil || c.q.Network.VPCs == 0 {
		return nil
	}
	q := networks()
	q.wanted = float64(c.q.Network.VPCs)
	err := pages(ctx, c.Account, "DescribeVpcs", nil, func(page struct {
		Page
		Networks []string `xml:"vpcSet>item>vpcId"`
	}) {
		q.used += float64(len(page.Networks))
	})
	if err != nil {
		return err
	}
	return c.hold(ctx, q)
}

func (c *checking) countAddresses(ctx context.Context) error {
	if c.q.Network == nil || c.q.Network.Addresses == 0 {
		return nil
	}
	q := addresses()
	q.wanted = float64(c.q.Network.Addresses)
	var there struct {
		Addresses []string `xml:"addressesSet>item>allocationId"`
	}
	if err := c.query(ctx, "ec2", "DescribeAddresses", nil, &there); err != nil {
		return err
	}
	q.used = float64(len(there.Addresses))
	return c.hold(ctx, q)
}

// hold holds what is wanted against a quota.
func (c *checking) hold(ctx context.Context, q quota) error {
	limit, err := c.limit(ctx, q)
	if err != nil {
		return err
	}
	if said := q.exceeded(c.q.Region, limit); said != "" {
		c.Problems = append(c.Problems, said)
	}
	return nil
}

// limit is what the account may have of a quota: what it was given, or AWS' own number where that was never changed.
func (c *checking) limit(ctx context.Context, q quota) (float64, error) {
	asked := map[string]string{"ServiceCode": q.service, "QuotaCode": q.code}
	var first error
	for _, call := range []string{"GetServiceQuota", "GetAWSDefaultServiceQuota"} {
		var has struct{ Quota struct{ Value *float64 } }
		err := c.call(ctx, "servicequotas", "ServiceQuotasV20190624."+call, asked, &has)
		if err == nil && has.Quota.Value != nil {
			return *has.Quota.Value, nil
		}
		first = cmp.Or(first, err)
	}
	return 0, cmp.Or(first, fmt.Errorf("quota %q has no value", q.name))
}
