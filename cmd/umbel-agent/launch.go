package main

import (
	"context"
	"os"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"umbel.dev/umbel/internal/agent"
	"umbel.dev/umbel/internal/upgrade/self"
	"umbel.dev/umbel/internal/version"
)

func access(o *agent.Options, kubeconfig string) (err error) {
	if kubeconfig == "" {
		o.Config, err = rest.InClusterConfig()
		return err
	}
	o.Config, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	return err
}

// launch runs an agent that is a process, or the program that it was upgraded to.
func launch(ctx context.Context, o agent.Options) error {
	build, err := version.Running()
	if err != nil {
		return err
	}
	l := self.Launcher{Dir: o.Dir, Args: os.Args, Build: build, Now: time.Now, Log: o.Log}
	return l.Run(ctx, func(ctx context.Context) error { return agent.Run(ctx, o) })
}
