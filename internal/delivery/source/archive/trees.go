package archive

import (
	"sync"
	"weak"
)

// Trees remembers which Files were opened, for as long as somebody uses them: many Packages may be of one archive. The zero
// value is ready for use.
type Trees struct {
	mu    sync.Mutex
	known map[string]weak.Pointer[Files]
}

// Get returns the Files of a name, opened by a function when nobody has them. They must not be changed.
func (t *Trees) Get(name string, open func() (*Files, error)) (*Files, error) {
	t.mu.Lock()
	defer t.mu.Unlock() // those who want the same wait for the one who opens it
	if files := t.known[name].Value(); files != nil {
		return files, nil
	}
	files, err := open()
	if err != nil {
		return nil, err
	}
	if t.known == nil || len(t.known) > 1000 {
		t.known = map[string]weak.Pointer[Files]{}
	}
	t.known[name] = weak.Make(files)
	return files, nil
}
