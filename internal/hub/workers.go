package hub

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"umbel.dev/umbel/internal/delivery/render"
)

// workers render sources in processes of their own: this very program, which lies beside the others.
func (h *hub) workers(ctx context.Context) *render.Workers {
	program := filepath.Join(h.Programs, "umbel")
	if _, err := os.Stat(program); err != nil {
		h.Log.Warn("sources are rendered in the hub's own process, without limits of time and memory", "because", err)
		return nil
	}
	if err := render.Confinable(); err != nil {
		h.Log.Warn("the processes that render sources are not confined by the system", "because", err)
	}
	return render.NewWorkers(ctx, func() *exec.Cmd { return render.Command(program) }, render.DefaultLimits, runtime.GOMAXPROCS(0))
}
