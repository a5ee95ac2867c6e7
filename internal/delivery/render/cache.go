package render

import (
	"container/list"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"slices"
	"sync"

	"umbel.dev/umbel/internal/delivery/source"
)

const (
	// cacheBytes is how much the cache keeps on the disk.
	cacheBytes = 256 << 20
	// cacheLeast is what the smallest result counts for: its file takes some blocks of the disk, and its place in the cache some
	// memory. So there are at most 16,384 results.
	cacheLeast = 16 << 10
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
//
// What was rendered lies on the disk. In memory there is of each result what it was made of and the digest of its file: with it a
// hub's memory does not grow with the objects of its sources. A file that is gone, or not what was written, is rendered anew.
type Cache struct {
	config    CacheConfig
	limit     int64 // of bytes
	read      reader
	readChart chartReader

	mu      sync.Mutex
	results map[digest][]*list.Element // of *result, by folder and choice, the newest last
	order   *list.List                 // of *result, the last used in front
	bytes   int64
	outputs map[digest]*list.Element // of remembered
	used    *list.List
	counts  Counts
}

// CacheConfig is what a Cache needs.
type CacheConfig struct {
	// Dir is a folder that the Cache has for itself: what stands in it is removed. It holds what Packages hold, Secrets of charts
	// included, so nobody else can read it.
	Dir string
	// Workers render. Without them it is done in this process, without limits.
	Workers *Workers
	// Made is told of everything that is made how large it is, in bytes. It must not block. The default is to tell nobody.
	Made func(bytes int64)
	// Log gets what could not be kept or read. The default is to discard it.
	Log *slog.Logger
}

// Counts are what a Cache was asked for.
type Counts struct {
	// Sources is how often a folder was rendered, and SourcesSaved how often it was not because the result was there.
	Sources, SourcesSaved int
	// Outputs is how often variables were put in for a class of clusters, and OutputsSaved how often not.
	Outputs, OutputsSaved int
}

// digest names something by all that it is made of.
type digest [sha256.Size]byte

type result struct {
	key    digest
	record *source.Record
	origin string
	file   stored
}

// counts is what a result takes of what a cache may keep.
func (r *result) counts() int64 { return max(r.file.size, cacheLeast) }

type remembered struct {
	key    digest
	output Output
}

// NewCache returns an empty Cache.
func NewCache(config CacheConfig) (*Cache, error) {
	if err := os.RemoveAll(config.Dir); err != nil {
		return nil, fmt.Errorf("removing what was rendered before: %w", err)
	}
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder for what is rendered: %w", err)
	}
	if config.Made == nil {
		config.Made = func(int64) {}
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	read, chart := reader(read), chartReader(readChart)
	if config.Workers != nil {
		read, chart = config.Workers.read, config.Workers.readChart
	}
	return &Cache{
		config: config, limit: cacheBytes, read: read, readChart: chart,
		results: map[digest][]*list.Element{}, order: list.New(), outputs: map[digest]*list.Element{}, used: list.New(),
	}, nil
}

// Counts returns what it was asked for so far.
func (c *Cache) Counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts
}

// Folder is the Maker of a folder of files, by way of the cache.
func (c *Cache) Folder(files fs.FS, folder string, remote ...Base) Maker {
	return c.kept(folder, remote, files, func(files fs.FS) Maker { return folderBy(c.read, files, folder, remote...) })
}

// Chart is the Maker of a chart, by way of the cache.
func (c *Cache) Chart(files fs.FS, folder string, o ChartOptions) Maker {
	return c.kept(folder, o, files, func(files fs.FS) Maker { return chartBy(c.readChart, files, folder, o) })
}

// kept is a Maker whose results are kept by a folder, how it is rendered, what it looked at, and the choice.
func (c *Cache) kept(folder string, options any, files fs.FS, makes func(fs.FS) Maker) Maker {
	how, err := json.Marshal(options)
	if err != nil {
		return func(Choice) (*Rendered, error) {
			return nil, fmt.Errorf("naming what folder %q is made of: %w", folder, err)
		}
	}
	return func(choice Choice) (*Rendered, error) {
		key := sha256.Sum256(fmt.Appendf(nil, "%T %q %q %q %q", options, path.Clean(folder), how, choice.Components, choice.Values))
		if known := c.find(key, files); known != nil {
			return known, nil
		}
		trace := source.NewTrace(files)
		rendered, err := makes(trace)(choice)
		c.count(func(counts *Counts) { counts.Sources++ })
		if err != nil {
			return nil, err
		}
		if record, known := trace.Record(); known {
			rendered.origin = hex.EncodeToString(key[:]) + " " + record.Digest()
			c.keep(&result{key: key, record: record, origin: rendered.origin}, rendered)
		}
		return rendered, nil
	}
}

// find looks for a result that was made of what the files hold now.
func (c *Cache) find(key digest, files fs.FS) *Rendered {
	for _, candidate := range slices.Backward(c.candidates(key)) {
		if !candidate.record.Same(files) {
			continue
		}
		rendered, err := candidate.file.load()
		if !c.hit(candidate, err) {
			continue
		}
		rendered.origin = candidate.origin
		c.config.Made(candidate.file.size)
		return rendered
	}
	return nil
}

func (c *Cache) candidates(key digest) []*result {
	c.mu.Lock()
	defer c.mu.Unlock()
	candidates := make([]*result, len(c.results[key]))
	for i, element := range c.results[key] {
		candidates[i] = element.Value.(*result)
	}
	return candidates
}

// hit notes that a result was used, or lets go of it when its file could not be.
func (c *Cache) hit(r *result, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.results[r.key], func(e *list.Element) bool { return e.Value.(*result) == r })
	switch {
	case err == nil && i >= 0:
		c.order.MoveToFront(c.results[r.key][i])
	case i >= 0: // otherwise somebody else let go of it meanwhile
		c.config.Log.Warn("what was rendered is rendered anew, since its file cannot be used", "error", err)
		c.drop(c.results[r.key][i])
	}
	if err == nil {
		c.counts.SourcesSaved++
	}
	return err == nil
}

// keep adds a result, and lets go of what is too much. What cannot be written is not kept.
func (c *Cache) keep(r *result, rendered *Rendered) {
	var err error
	if r.file, err = store(c.config.Dir, rendered); err != nil {
		c.config.Log.Warn("what was rendered is not kept, and will be rendered anew", "error", err)
		return
	}
	c.config.Made(r.file.size)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.results[r.key] = append(c.results[r.key], c.order.PushFront(r))
	c.bytes += r.counts()
	if kept := c.results[r.key]; len(kept) > cacheKept {
		c.drop(kept[0])
	}
	for c.bytes > c.limit && c.order.Len() > 1 {
		c.drop(c.order.Back())
	}
}

// drop lets go of a result. The caller holds mu.
func (c *Cache) drop(element *list.Element) {
	r := c.order.Remove(element).(*result)
	c.bytes -= r.counts()
	if err := r.file.remove(); err != nil {
		c.config.Log.Warn("what was rendered before stays on the disk until the next start", "error", err)
	}
	rest := slices.DeleteFunc(c.results[r.key], func(other *list.Element) bool { return other == element })
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
	c.config.Made(output.Size)
	if err == nil && key != (digest{}) {
		c.remember(key, output)
	}
	return output, err
}

func (c *Cache) count(change func(*Counts)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.counts)
}

func (c *Cache) output(key digest) (output Output, is bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	element, is := c.outputs[key]
	if !is {
		return Output{}, false
	}
	c.used.MoveToFront(element)
	return element.Value.(remembered).output, true
}

func (c *Cache) remember(key digest, output Output) {
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

// key names all that an output is made of, and where it goes; zero when that is not known.
func (f *Family) key(values []string, place string) (digest, error) {
	rendered, own, err := f.pick(values)
	if err != nil || rendered.origin == "" {
		return digest{}, err
	}
	inputs, err := json.Marshal([]any{place, rendered.origin, rendered.Variables, own, rendered.given})
	if err != nil {
		return digest{}, errors.Join(errors.New("naming what an output is made of"), err)
	}
	return sha256.Sum256(inputs), nil
}
