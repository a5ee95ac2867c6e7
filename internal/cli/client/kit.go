package client

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"umbel.dev/umbel/internal/delivery"
	"umbel.dev/umbel/internal/delivery/render"
)

// Kit is what commands render with, as a hub does: processes of this very program, within the same limits, and confined by the system. Where
// that cannot be it says so on the stream for errors. end lets go of the processes, and removes what was fetched.
func (f *Factory) Kit(ctx context.Context) (kit delivery.Kit, end func(), err error) {
	programs, err := Programs()
	if err != nil {
		return kit, nil, err
	}
	if kit.Dir, err = os.MkdirTemp("", "umbel-render-"); err != nil {
		return kit, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	end = func() {
		cancel()
		_ = os.RemoveAll(kit.Dir) // it is in the folder for temporary files
	}
	program := filepath.Join(programs, "umbel")
	if _, err := os.Stat(program); err != nil {
		fmt.Fprintf(f.Err, "Note: what renders is neither limited nor confined here: %v\n", err)
		return kit, end, nil
	}
	if err := render.Confinable(); err != nil {
		fmt.Fprintf(f.Err, "Note: what renders is not confined by the system: %v\n", err)
	}
	kit.Workers = render.NewWorkers(ctx, func() *exec.Cmd { return render.Command(program) }, render.DefaultLimits, runtime.GOMAXPROCS(0))
	return kit, end, nil
}
