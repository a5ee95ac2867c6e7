package pass

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Result is what one pass took.
type Result struct {
	// Objects is how many there were, and Changed how many of them the engine says it created or changed.
	Objects int `json:"objects"`
	Changed int `json:"changed"`
	// Seconds is from the reading of the folder to the end, and CPU the processor time of the process meanwhile.
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu"`
	// RSS and Peak are the resident memory of the process, in MiB.
	RSS  float64 `json:"rss"`
	Peak float64 `json:"peak"`
}

// Owner is on whose behalf objects are applied: a Kustomization or an Application.
type Owner struct{ Namespace, Name string }

// Engine applies objects, and says how many of them it created or changed.
type Engine interface {
	Apply(ctx context.Context, objects []*unstructured.Unstructured) (changed int, err error)
}

// Start makes an engine.
type Start func(ctx context.Context, config *rest.Config, owner Owner) (Engine, error)

// Main is all of a program.
func Main(start Start) {
	if err := run(start, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
		os.Exit(1)
	}
}

func run(start Start, in io.Reader, out io.Writer) error {
	kubeconfig := flag.String("kubeconfig", os.Getenv("KUBECONFIG"), "kubeconfig of the cluster")
	var owner Owner
	flag.StringVar(&owner.Name, "name", "peer", "name of the Kustomization or Application that the objects are said to be of")
	flag.StringVar(&owner.Namespace, "namespace", "default", "its namespace, and that of objects without one")
	repeat := flag.Bool("repeat", false, "after the first pass, make another one for each line of standard input")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: %s [flags] FOLDER\n", os.Args[0])
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		return fmt.Errorf("one folder is wanted, not %d", flag.NArg())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return fmt.Errorf("reading the kubeconfig %q: %w", *kubeconfig, err)
	}
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	engine, err := start(ctx, config, owner)
	if err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); ; {
		result, err := once(ctx, engine, flag.Arg(0))
		if err != nil {
			return err
		}
		if err := json.NewEncoder(out).Encode(result); err != nil {
			return err
		}
		if !*repeat || !lines.Scan() {
			return lines.Err()
		}
	}
}

func once(ctx context.Context, engine Engine, folder string) (Result, error) {
	spent, start := cpu(), time.Now()
	objects, err := read(folder)
	if err != nil {
		return Result{}, err
	}
	changed, err := engine.Apply(ctx, objects)
	if err != nil {
		return Result{}, fmt.Errorf("applying %s: %w", folder, err)
	}
	result := Result{Objects: len(objects), Changed: changed, Seconds: time.Since(start).Seconds(), CPU: cpu() - spent}
	result.RSS, result.Peak, err = memory()
	return result, err
}
