// Package span answers: how long is what somebody wrote on the command line?
//
// It is Go's notation with days before it: 90s, 1h30m, 7d, 1d12h. A day is 24 hours. Every flag of the umbel command that
// takes a time span is made here, so that all of them understand the same and say the same about what they do not understand.
package span

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

const day = 24 * time.Hour

var withDays = regexp.MustCompile(`^([0-9]+)d(.*)$`)

// Parse reads a span.
func Parse(text string) (time.Duration, error) {
	var days time.Duration
	rest := text
	if parts := withDays.FindStringSubmatch(text); parts != nil {
		n, err := strconv.ParseInt(parts[1], 10, 64)
		if err != nil || n > int64(math.MaxInt64/day)-1 {
			return 0, fmt.Errorf("%q is longer than can be counted", text)
		}
		days, rest = time.Duration(n)*day, parts[2]
		if rest == "" {
			return days, nil
		}
	}
	span, err := time.ParseDuration(rest)
	if err != nil || days > 0 && (span < 0 || span > day || strings.HasPrefix(rest, "+")) {
		return 0, fmt.Errorf("%q is no duration: write 90s, 5m, 1h30m, 7d or 1d12h", text)
	}
	return days + span, nil
}

// Moment reads a time of RFC 3339, or a span before now. Nothing is the zero time.
func Moment(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := Parse(text); err == nil && !strings.HasPrefix(text, "-") {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fmt.Errorf("%q is neither a duration such as 1h30m or 7d nor a time such as 2026-11-22T12:00:00Z", text)
	}
	return at, nil
}

// Text writes a span as people do: 24h, 1h30m.
func Text(span time.Duration) string {
	text := span.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Var adds a flag. What is in backquotes in usage names its value, and the value of span is the default, of which help says nothing when it
// is none.
func Var(flags *pflag.FlagSet, span *time.Duration, name, usage string) {
	made := flags.VarPF((*flag)(span), name, "", usage)
	if *span == 0 {
		made.DefValue = ""
	}
}

type flag time.Duration

func (f *flag) String() string { return Text(time.Duration(*f)) }

func (f *flag) Type() string { return "DURATION" }

func (f *flag) Set(text string) error {
	span, err := Parse(text)
	if err == nil {
		*f = flag(span)
	}
	return err
}
