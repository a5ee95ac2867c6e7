package git

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/hash"
)

const (
	// fewPacks is how many packs a mirror may have without a look at them. Every use of a mirror reads the indexes of all.
	fewPacks = 20
	// maxJoined bounds what is made one pack of, in bytes: so much is read and written at a time.
	maxJoined = 256 << 20
	// headOfPack and endOfPack are how many bytes are around the objects of a pack: what it is and how many they are, and its hash.
	headOfPack, endOfPack = 12, 20
)

// pack is one of the files in which a mirror has its objects.
type pack struct {
	name plumbing.Hash
	size int64
}

// toJoin picks those of which one is to be made: so many of the small ones that none of those that stay is small beside them.
// A mirror is left with few packs that way, and each object is copied a few times in all its life, and not with each fetch.
func toJoin(packs []pack) []pack {
	if len(packs) <= fewPacks {
		return nil
	}
	sorted := slices.Clone(packs)
	slices.SortFunc(sorted, func(a, b pack) int {
		return cmp.Or(cmp.Compare(a.size, b.size), bytes.Compare(a.name[:], b.name[:]))
	})
	end, below := 0, int64(0)
	for i, p := range sorted {
		if p.size <= 2*below && below+p.size <= maxJoined {
			end = i + 1
		}
		below += p.size
	}
	return sorted[:end]
}

// join makes one pack of many: their objects as they are, one pack after the other, so that nothing is unpacked and little is
// held in memory (go-git's encoder unpacks all of them at once, and its RepackObjects forgets what a force push threw away). It
// writes both files of the pack into a folder and returns the name, and which packs it is in place of. One that is damaged is
// left as it is, and so is its like. An object may be in it twice, as Git allows.
func join(packs, into string, parts []pack) (plumbing.Hash, []plumbing.Hash, error) {
	var copied, replaced []plumbing.Hash
	var entries []idxfile.Entry
	has := map[plumbing.Hash]bool{}
	at := int64(headOfPack)
	for _, part := range slices.Backward(parts) { // the largest first: it may have all of a small one
		inside, err := entriesOf(packs, part)
		if err != nil {
			continue
		}
		replaced = append(replaced, part.name)
		if !slices.ContainsFunc(inside, func(e idxfile.Entry) bool { return !has[e.Hash] }) {
			continue
		}
		for _, e := range inside {
			has[e.Hash] = true
			e.Offset += uint64(at - headOfPack)
			entries = append(entries, e)
		}
		copied, at = append(copied, part.name), at+part.size-headOfPack-endOfPack
	}
	if len(replaced) < 2 {
		return plumbing.ZeroHash, nil, nil
	}
	name, err := writePack(packs, into, copied, len(entries))
	if err != nil {
		return plumbing.ZeroHash, nil, err
	}
	replaced = slices.DeleteFunc(replaced, func(one plumbing.Hash) bool { return one == name })
	return name, replaced, writeIndex(into, name, entries)
}

// entriesOf returns where the objects of a pack are in it, after comparing both files with their hashes.
func entriesOf(packs string, of pack) ([]idxfile.Entry, error) {
	raw, err := os.ReadFile(filepath.Join(packs, indexFile(of.name)))
	if err != nil {
		return nil, err
	}
	index := idxfile.NewMemoryIndex()
	if err := idxfile.NewDecoder(bytes.NewReader(raw)).Decode(index); err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(packs, packFile(of.name)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum, end := hash.New(hash.CryptoType), make([]byte, endOfPack)
	if _, err := io.Copy(sum, io.LimitReader(f, of.size-endOfPack)); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(f, end); err != nil {
		return nil, err
	}
	if !bytes.Equal(sum.Sum(nil), end) || !bytes.Equal(end, of.name[:]) || index.PackfileChecksum != of.name {
		return nil, fmt.Errorf("pack %s: %w", of.name, errUnreadable)
	}
	all, err := index.Entries()
	if err != nil {
		return nil, err
	}
	defer all.Close()
	var entries []idxfile.Entry
	for {
		entry, err := all.Next()
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		entries = append(entries, *entry)
	}
}

// writePack writes the objects of packs one after the other, and calls the file what Git calls a pack: by the hash of it. The
// distance between an object and the one that it is told the difference to stays what it was.
func writePack(packs, into string, parts []plumbing.Hash, objects int) (plumbing.Hash, error) {
	f, err := os.Create(filepath.Join(into, "unfinished"))
	if err != nil {
		return plumbing.ZeroHash, err
	}
	defer f.Close() //nolint:errcheck // it was closed already when all went well
	sum := hash.New(hash.CryptoType)
	both := io.MultiWriter(f, sum)
	head := []byte{'P', 'A', 'C', 'K', 0, 0, 0, 2, byte(objects >> 24), byte(objects >> 16), byte(objects >> 8), byte(objects)}
	if _, err := both.Write(head); err != nil {
		return plumbing.ZeroHash, err
	}
	for _, part := range parts {
		if err := copyObjects(both, filepath.Join(packs, packFile(part))); err != nil {
			return plumbing.ZeroHash, err
		}
	}
	var name plumbing.Hash
	copy(name[:], sum.Sum(nil))
	if _, err := f.Write(name[:]); err != nil {
		return plumbing.ZeroHash, err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return plumbing.ZeroHash, err
	}
	return name, os.Rename(f.Name(), filepath.Join(into, packFile(name)))
}

func copyObjects(to io.Writer, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	_, err = io.Copy(to, io.NewSectionReader(f, headOfPack, info.Size()-headOfPack-endOfPack))
	return err
}

// writeIndex writes the index of a pack. go-git's own writer of them leaves out what is there twice, and then the index and the
// pack do not agree on how much there is.
func writeIndex(into string, of plumbing.Hash, entries []idxfile.Entry) error {
	slices.SortFunc(entries, func(a, b idxfile.Entry) int {
		return cmp.Or(bytes.Compare(a.Hash[:], b.Hash[:]), cmp.Compare(a.Offset, b.Offset))
	})
	index := idxfile.NewMemoryIndex()
	index.Version, index.PackfileChecksum = idxfile.VersionSupported, of
	for i := range index.FanoutMapping {
		index.FanoutMapping[i] = -1
	}
	for _, e := range entries {
		first := e.Hash[0]
		if index.FanoutMapping[first] < 0 {
			index.FanoutMapping[first] = len(index.Names)
			index.Names, index.CRC32, index.Offset32 = append(index.Names, nil), append(index.CRC32, nil), append(index.Offset32, nil)
		}
		in := index.FanoutMapping[first]
		index.Names[in] = append(index.Names[in], e.Hash[:]...)
		index.CRC32[in] = append(index.CRC32[in], byte(e.CRC32>>24), byte(e.CRC32>>16), byte(e.CRC32>>8), byte(e.CRC32))
		index.Offset32[in] = append(index.Offset32[in], byte(e.Offset>>24), byte(e.Offset>>16), byte(e.Offset>>8), byte(e.Offset)) // below maxJoined
		index.Fanout[first]++
	}
	for i := 1; i < len(index.Fanout); i++ {
		index.Fanout[i] += index.Fanout[i-1]
	}
	f, err := os.Create(filepath.Join(into, indexFile(of)))
	if err != nil {
		return err
	}
	_, err = idxfile.NewEncoder(f).Encode(index)
	return errors.Join(err, f.Sync(), f.Close())
}

func packFile(name plumbing.Hash) string  { return "pack-" + name.String() + ".pack" }
func indexFile(name plumbing.Hash) string { return "pack-" + name.String() + ".idx" }

// packName is the name of a pack by the file of its objects.
func packName(file string) (plumbing.Hash, bool) {
	name, is := strings.CutSuffix(strings.TrimPrefix(file, "pack-"), ".pack")
	return plumbing.NewHash(name), is && fullHash.MatchString(name)
}

// packsIn lists the packs of a folder; none when it is not there.
func packsIn(folder string) ([]pack, error) {
	files, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var packs []pack
	for _, file := range files {
		name, is := packName(file.Name())
		if !is {
			continue
		}
		if info, err := file.Info(); err == nil && info.Size() > headOfPack+endOfPack {
			packs = append(packs, pack{name, info.Size()})
		}
	}
	return packs, nil
}
