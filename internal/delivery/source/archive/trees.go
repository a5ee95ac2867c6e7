package archive

import (
	"sync"
	"weak"
)

// Trees remembers which Files were opened, for as long as somebody uses them: many Packages may be of one archive. The zero
// value is ready for use.
type Trees struct {
	mu    sync.Mutex
	known map[string]*opened
}

// opened is one that is open, or is being opened.
type opened struct {
	mu    sync.Mutex
	files weak.Pointer[Files]
}

// Get returns the Files of a name, opened by a function when nobody has them: those who want the same wait for the one who opens
// it, and nobody else does. They must not be changed.
func (t *Trees) Get(name string, open func() (*Files, error)) (*Files, error) {
	one := t.one(name)
	one.mu.Lock()
	defer one.mu.Unlock()
	if files := one.files.Value(); files != nil {
		return files, nil
	}
	files, err := open()
	if err == nil {
		one.files = weak.Make(files)
	}
	return files, err
}

func (t *Trees) one(name string) *opened {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == nil || len(t.known) > 1000 {
		t.known = map[string]*opened{}
	}
	if t.known[name] == nil {
		t.known[name] = &opened{}
	}
	return t.known[name]
}
