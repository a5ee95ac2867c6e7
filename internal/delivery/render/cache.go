package render

import (
	"container/list"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sync"

	"umbel.dev/umbel/internal/delivery/source"
)

const (
	// cacheBytes is how much content the cache keeps, as JSON. In memory it is a few times that where there are variables.
	cacheBytes = 64 << 20
	// cacheOutputs is how many outputs are remembered, by their digests.
	cacheOutputs = 50_000
	// cacheKept is how many results are kept for one folder and choice: of revisions that are in turn, such as two branches.
	cacheKept = 4
)

// Output says where the content for some clusters went.
type Output struct {
	Digest  string
	Size    int64
	Objects int32
}

// Cache keeps what was rendered, by all of what it was made of. A result is used again when every file, folder and absence
// that was looked at to make it is the same in another revision, and the choice is the same; so a commit renders only what
// it feeds, be it in another folder. It keeps nothing that failed.
type Cache struct {
	read      reader
	readChart chartReader

	mu      sync.Mutex
	results map[string][]*list.Element // of *result, by folder and choice, the newest last
	order   *list.List                 // of *result, the last used in front
	bytes   int64
	outputs map[string]*list.Element // of remembered
	used    *list.List
	counts  Counts
}

// Counts are what a Cache was asked for.
type Counts struct {
	// Sources is how often a folder was rendered, and SourcesSaved how often it was not because the result was there.
	Sources, SourcesSaved int
	// Outputs is how often variables were put in for a class of clusters, and OutputsSaved how often not.
	Outputs, OutputsSaved int
}

type result struct {
	key      string
	trace    *source.Trace
	rendered *Rendered
	bytes    int64
}

type remembered struct {
	key    string
	output Output
}

// NewCache returns an empty Cache. Without workers it renders in this process, without limits.
func NewCache(workers *Workers) *Cache {
	read, chart := reader(read), chartReader(readChart)
	if workers != nil {
		read, chart = workers.read, workers.readChart
	}
	return &Cache{read: read, readChart: chart, results: map[string][]*list.Element{}, order: list.New(), outputs: map[string]*list.Element{}, used: list.New()}
}

// Counts returns what it was asked for so far.
func (c *Cache) Counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts
}

// Folder is the Maker of a folder of files, by way of the cache.
func (c *Cache) Folder(files fs.FS, folder string) Maker {
	return c.kept(path.Clean(folder), files, func(files fs.FS) Maker { return folderBy(c.read, files, folder) })
}

// Chart is the Maker of a chart, by way of the cache.
func (c *Cache) Chart(files fs.FS, folder string, o ChartOptions) Maker {
	raw, err := json.Marshal(o)
	if err != nil {
		return func(Choice) (*Rendered, error) { return nil, fmt.Errorf("naming what a chart is made of: %w", err) }
	}
	sum := sha256.Sum256(raw)
	name := path.Clean(folder) + " " + hex.EncodeToString(sum[:])
	return c.kept(name, files, func(files fs.FS) Maker { return chartBy(c.readChart, files, folder, o) })
}

// kept is a Maker whose results are kept by a name, what it looked at, and the choice.
func (c *Cache) kept(name string, files fs.FS, makes func(fs.FS) Maker) Maker {
	return func(choice Choice) (*Rendered, error) {
		key := fmt.Sprintf("%q %q", name, choice.Components)
		if len(choice.Values) > 0 {
			key += fmt.Sprintf(" %q", choice.Values)
		}
		if known := c.find(key, files); known != nil {
			return known, nil
		}
		trace := source.NewTrace(files)
		rendered, err := makes(trace)(choice)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.counts.Sources++
		if err != nil {
			return nil, err
		}
		if digest, known := trace.Digest(); known {
			rendered.origin = key + " " + digest
			c.keep(&result{key: key, trace: trace, rendered: rendered, bytes: rendered.bytes()})
		}
		return rendered, nil
	}
}

// find looks for a result that was made of what the files hold now.
func (c *Cache) find(key string, files fs.FS) *Rendered {
	c.mu.Lock()
	candidates := make([]*result, 0, cacheKept)
	for _, element := range c.results[key] {
		candidates = append(candidates, element.Value.(*result))
	}
	c.mu.Unlock()
	for i := len(candidates) - 1; i >= 0; i-- {
		candidate := candidates[i]
		if !candidate.trace.Same(files) {
			continue
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.counts.SourcesSaved++
		for _, element := range c.results[key] {
			if element.Value.(*result) == candidate {
				c.order.MoveToFront(element)
			}
		}
		return candidate.rendered
	}
	return nil
}

// keep adds a result, and lets go of what is too much. The caller holds mu.
func (c *Cache) keep(r *result) {
	c.results[r.key] = append(c.results[r.key], c.order.PushFront(r))
	c.bytes += r.bytes
	if kept := c.results[r.key]; len(kept) > cacheKept {
		c.drop(kept[0])
	}
	for c.bytes > cacheBytes && c.order.Len() > 1 {
		c.drop(c.order.Back())
	}
}

func (c *Cache) drop(element *list.Element) {
	r := c.order.Remove(element).(*result)
	c.bytes -= r.bytes
	var rest []*list.Element
	for _, other := range c.results[r.key] {
		if other != element {
			rest = append(rest, other)
		}
	}
	if c.results[r.key] = rest; len(rest) == 0 {
		delete(c.results, r.key)
	}
}

// Output returns where the content for clusters with these values went, when that is known and still there; otherwise make
// is called, and says so.
func (c *Cache) Output(f *Family, values []string, place string, kept func(Output) (bool, error), make func() (Output, error)) (Output, error) {
	key, err := f.key(values, place)
	if err != nil {
		return Output{}, err
	}
	if known, is := c.output(key); is {
		has, err := kept(known)
		if err != nil {
			return Output{}, err
		}
		if has {
			c.count(func(counts *Counts) { counts.OutputsSaved++ })
			return known, nil
		}
	}
	c.count(func(counts *Counts) { counts.Outputs++ })
	output, err := make()
	if err == nil && key != "" {
		c.remember(key, output)
	}
	return output, err
}

func (c *Cache) count(change func(*Counts)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.counts)
}

func (c *Cache) output(key string) (output Output, is bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	element, is := c.outputs[key]
	if !is || key == "" {
		return Output{}, false
	}
	c.used.MoveToFront(element)
	return element.Value.(remembered).output, true
}

func (c *Cache) remember(key string, output Output) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if element, is := c.outputs[key]; is {
		c.used.Remove(element)
	}
	c.outputs[key] = c.used.PushFront(remembered{key, output})
	if c.used.Len() > cacheOutputs {
		delete(c.outputs, c.used.Remove(c.used.Back()).(remembered).key)
	}
}

// key names all that an output is made of, and where it goes; empty when that is not known.
func (f *Family) key(values []string, place string) (string, error) {
	rendered, own, err := f.pick(values)
	if err != nil || rendered.origin == "" {
		return "", err
	}
	inputs, err := json.Marshal([]any{place, rendered.origin, rendered.Variables, own, rendered.given})
	if err != nil {
		return "", errors.Join(errors.New("naming what an output is made of"), err)
	}
	sum := sha256.Sum256(inputs)
	return hex.EncodeToString(sum[:]), nil
}

// bytes is the size of the objects as JSON, about.
func (r *Rendered) bytes() int64 {
	var sum int64
	for _, o := range r.objects {
		sum += int64(len(o.raw))
		if o.raw == nil {
			sum += sizeOf(o.fields)
		}
	}
	return sum
}

func sizeOf(value any) int64 {
	switch value := value.(type) {
	case map[string]any:
		sum := int64(2)
		for key, item := range value {
			sum += int64(len(key)) + 4 + sizeOf(item)
		}
		return sum
	case []any:
		sum := int64(2)
		for _, item := range value {
			sum += sizeOf(item) + 1
		}
		return sum
	case string:
		return int64(len(value)) + 2
	default:
		return 8
	}
}
