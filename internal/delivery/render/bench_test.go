package render

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// BenchmarkConfined says what it costs that a source is rendered by a process that the system confines: a folder of 2,000 objects, and 2,000
// folders of one. here is without, kept with one process for all, fresh with one for each folder.
func BenchmarkConfined(b *testing.B) {
	many := map[string]string{}
	for i := range 2000 {
		many[fmt.Sprintf("f%04d/a.yaml", i)] = config(fmt.Sprintf("a-%04d", i)) + "data: {value: some text of some length, region: '${cluster.labels.region}'}\n"
	}
	files := tree(many)
	ctx, cancel := context.WithCancel(context.Background())
	b.Cleanup(cancel)
	kept := NewWorkers(ctx, func() *exec.Cmd {
		c := exec.Command(os.Args[0])
		c.Env = []string{"UMBEL_TEST_WORKER=1"}
		return c
	}, DefaultLimits, 1)
	for name, folder := range map[string]func(string) Maker{
		"here": func(name string) Maker { return Folder(files, name) },
		"kept": func(name string) Maker { return kept.Folder(files, name) },
		"fresh": func(name string) Maker {
			return func(choice Choice) (*Rendered, error) {
				defer func() {
					if at, had, err := kept.take(); err == nil && had {
						at.end()
					}
				}()
				return kept.Folder(files, name)(choice)
			}
		},
	} {
		render := func(b *testing.B, name string, want int) {
			b.Helper()
			if rendered, err := folder(name)(Choice{}); err != nil || rendered.Len() != want {
				b.Fatalf("%v, %v", rendered, err)
			}
		}
		b.Run("one source of 2,000/"+name, func(b *testing.B) {
			for b.Loop() {
				render(b, ".", 2000)
			}
		})
		if name == "fresh" {
			continue
		}
		b.Run("2,000 sources of one/"+name, func(b *testing.B) {
			for b.Loop() {
				for i := range 2000 {
					render(b, fmt.Sprintf("f%04d", i), 1)
				}
			}
		})
	}
}
