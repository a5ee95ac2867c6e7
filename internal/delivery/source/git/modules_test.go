package git

import (
	"io/fs"
	"path"
	"testing"
)

// FuzzModules: whatever a .gitmodules says, submodules are inside of their repository.
func FuzzModules(f *testing.F) {
	f.Add("[submodule \"lib\"]\n\tpath = lib\n\turl = ../lib.git\n")
	f.Add("[submodule \"x\"]\npath = ../../etc\nurl = https://a/b\n")
	f.Add("[submodule \"..\"]\npath = a/./b/\n[submodule \"\"]\npath=\n")
	f.Fuzz(func(t *testing.T, text string) {
		modules, err := modulesIn([]byte(text))
		if err != nil {
			return
		}
		for _, module := range modules {
			if at := path.Clean(module.Path); !fs.ValidPath(at) || at == "." {
				t.Errorf("submodule %q is at %q", module.Name, module.Path)
			}
		}
	})
}
