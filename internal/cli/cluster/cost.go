package cluster

import (
	"context"

	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/capacity"
	"umbel.dev/umbel/internal/cli/client"
)

// estimate notes about what the machines cost that come, by the prices that the hub has (`umbel capacity`). It keeps nobody from anything.
func (g growth) estimate(ctx context.Context, f *client.Factory, hub kube.Reader, numbers []int64, sizes []machineSize) {
	var machines, cores, memory int64
	for i, n := range numbers {
		if i >= len(sizes) || sizes[i].Cores == 0 || sizes[i].MemoryMiB == 0 {
			f.Note("What the machines cost is not estimated: it is not known how large they are.")
			return
		}
		machines, cores, memory = machines+n, cores+n*sizes[i].Cores, memory+n*sizes[i].MemoryMiB<<20
	}
	if machines == 0 {
		return
	}
	cost, err := capacity.CostOf(ctx, hub, g.cluster.GetLabels(), float64(cores), float64(memory))
	switch {
	case err != nil:
		f.Note("What the machines cost is not estimated: %v", err)
	case cost == nil:
		f.Note("What the machines cost is not estimated: the hub has no price for such a cluster. `umbel capacity --help` says where prices are.")
	default:
		f.Note("%s with %d cores and %.1f GiB of memory in all cost%s about %.2f %s a month, %.4f an hour: an estimate by the hub's prices, without disks, network, load balancers and discounts.",
			v1alpha1.Counted(int(machines), "machine"), cores, float64(memory)/(1<<30), v1alpha1.Agreeing(int(machines), "s", ""), cost.Month, cost.Currency, cost.Month/capacity.MonthHours)
	}
}
