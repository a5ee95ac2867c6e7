package line

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Quality is how good a line is, each way. The zero value is a good line.
type Quality struct {
	// Latency of one way: the round trip takes twice as long.
	Latency time.Duration
	// Loss is the share of packets that are lost at random.
	Loss float64
	// Bandwidth in bytes a second; 0 is as fast as it goes.
	Bandwidth int
	// Queue is how many bytes may wait for their turn; 64 KiB unless set. It counts with a Bandwidth alone.
	Queue int
}

// Config says between what the line is.
type Config struct {
	// Name of the devices, at most 12 characters: NAME-n and NAME-f.
	Name string
	// Process is whose network namespace the far end is in.
	Process int
	// Near and Far are the addresses at both ends, of one network, such as 10.77.1.1/30.
	Near, Far string
	// Seed of the random losses.
	Seed uint64
}

// Way is a direction of a line, or both.
type Way uint32

const (
	ToFar Way = 1 << iota
	ToNear
	Both = ToFar | ToNear
)

// Line is a line between two network namespaces.
type Line struct {
	config  Config
	quality atomic.Pointer[Quality]
	cut     atomic.Uint32 // the ways that are
	breaks  atomic.Bool   // resets connections
	near    *os.File
	far     *os.File
	running sync.WaitGroup

	// Dropped counts packets that were lost, by loss, a full queue or a cut.
	Dropped atomic.Int64
}

// New makes a good line.
func New(config Config) (*Line, error) {
	near, err := open(config.Name + "-n")
	if err != nil {
		return nil, err
	}
	far, err := open(config.Name + "-f")
	if err != nil {
		return nil, errors.Join(err, near.Close())
	}
	l := &Line{config: config, near: near, far: far}
	l.Set(Quality{})
	if err := l.attach(config); err != nil {
		return nil, errors.Join(err, near.Close(), far.Close())
	}
	l.running.Go(func() { l.carry(lane{ToFar, near, far}, rand.New(rand.NewPCG(config.Seed, 1))) })
	l.running.Go(func() { l.carry(lane{ToNear, far, near}, rand.New(rand.NewPCG(config.Seed, 2))) })
	return l, nil
}

// attach gives both devices their addresses, and moves the far one.
func (l *Line) attach(config Config) error {
	here, err := netlink.NewHandle()
	if err != nil {
		return err
	}
	defer here.Close()
	if err := up(here, config.Name+"-n", config.Near); err != nil {
		return err
	}
	device, err := here.LinkByName(config.Name + "-f")
	if err != nil {
		return err
	}
	if err := here.LinkSetNsPid(device, config.Process); err != nil {
		return fmt.Errorf("moving the line's far end to process %d: %w", config.Process, err)
	}
	namespace, err := netns.GetFromPid(config.Process)
	if err != nil {
		return err
	}
	defer namespace.Close()
	there, err := netlink.NewHandleAt(namespace)
	if err != nil {
		return err
	}
	defer there.Close()
	if err := up(there, "lo", ""); err != nil {
		return err
	}
	return up(there, config.Name+"-f", config.Far)
}

// Up brings the loopback device of this process's network namespace up, which a new one has down.
func Up() error {
	here, err := netlink.NewHandle()
	if err != nil {
		return err
	}
	defer here.Close()
	return up(here, "lo", "")
}

func up(namespace *netlink.Handle, name, address string) error {
	device, err := namespace.LinkByName(name)
	if err != nil {
		return fmt.Errorf("device %s: %w", name, err)
	}
	if address != "" {
		parsed, err := netlink.ParseAddr(address)
		if err != nil {
			return err
		}
		if err := namespace.AddrAdd(device, parsed); err != nil {
			return fmt.Errorf("device %s: address %s: %w", name, address, err)
		}
	}
	return namespace.LinkSetUp(device)
}

// Set makes the line as good as that, for packets from now on.
func (l *Line) Set(q Quality) {
	if q.Queue == 0 {
		q.Queue = 64 << 10
	}
	l.quality.Store(&q)
}

// Cut drops every packet that goes these ways, until Mend; neither end hears of it.
func (l *Line) Cut(ways Way) { l.cut.Store(uint32(ways)) }

// Mend ends a Cut.
func (l *Line) Mend() { l.cut.Store(0) }

// Plug takes the far device down, so that the process there has no way out and hears so, or up again.
func (l *Line) Plug(state State) error {
	namespace, err := netns.GetFromPid(l.config.Process)
	if err != nil {
		return err
	}
	defer namespace.Close()
	there, err := netlink.NewHandleAt(namespace)
	if err != nil {
		return err
	}
	defer there.Close()
	device, err := there.LinkByName(l.config.Name + "-f")
	if err != nil {
		return err
	}
	if state == Out {
		return there.LinkSetDown(device)
	}
	return there.LinkSetUp(device)
}

// State is whether the far end of a line is plugged in.
type State int

const (
	In State = iota
	Out
)

// Break has every TCP connection that sends something within the time reset, at both ends: as a firewall does that has
// forgotten them.
func (l *Line) Break(within time.Duration) {
	l.breaks.Store(true)
	time.AfterFunc(within, func() { l.breaks.Store(false) })
}

// Close ends the line.
func (l *Line) Close() error {
	err := errors.Join(l.near.Close(), l.far.Close())
	l.running.Wait()
	return err
}

// lane is one way of a line.
type lane struct {
	way      Way
	from, to *os.File
}

// packet is one that is on its way.
type packet struct {
	data []byte
	due  time.Time
}

// carry takes packets from one end to the other until the line is closed.
func (l *Line) carry(along lane, random *rand.Rand) {
	way := make(chan packet, 1<<14)
	var arriving sync.WaitGroup
	arriving.Go(func() { l.arrive(way, along) })
	defer arriving.Wait()
	defer close(way)
	var free time.Time // when the line has sent what waits
	buffer := make([]byte, 1<<16)
	for {
		n, err := along.from.Read(buffer)
		if err != nil {
			return
		}
		if l.breaks.Load() {
			if there, back, is := resets(buffer[:n]); is {
				along.to.Write(there)
				along.from.Write(back)
				continue
			}
		}
		q, now := l.quality.Load(), time.Now()
		lost := q.Loss > 0 && random.Float64() < q.Loss
		if free.Before(now) {
			free = now
		}
		if q.Bandwidth > 0 && !lost {
			waits := int(free.Sub(now).Seconds() * float64(q.Bandwidth))
			lost = waits+n > q.Queue
		}
		if lost || l.isCut(along.way) {
			l.Dropped.Add(1)
			continue
		}
		if q.Bandwidth > 0 {
			free = free.Add(time.Duration(float64(n) / float64(q.Bandwidth) * float64(time.Second)))
		}
		select {
		case way <- packet{append([]byte(nil), buffer[:n]...), free.Add(q.Latency)}:
		default:
			l.Dropped.Add(1)
		}
	}
}

func (l *Line) isCut(way Way) bool { return Way(l.cut.Load())&way != 0 }

// arrive delivers packets when they are due, in their order.
func (l *Line) arrive(way <-chan packet, along lane) {
	for p := range way {
		if wait := time.Until(p.due); wait > 0 {
			time.Sleep(wait)
		}
		if l.isCut(along.way) {
			l.Dropped.Add(1)
			continue
		}
		if _, err := along.to.Write(p.data); errors.Is(err, os.ErrClosed) {
			return
		}
	}
}

// Host returns the address of a network's end without its length, such as 10.77.1.1 of 10.77.1.1/30.
func Host(address string) string {
	ip, _, err := net.ParseCIDR(address)
	if err != nil {
		return address
	}
	return ip.String()
}
