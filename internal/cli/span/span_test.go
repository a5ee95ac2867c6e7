package span_test

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"umbel.dev/umbel/internal/cli/span"
)

func TestParse(t *testing.T) {
	cases := []struct {
		text string
		want time.Duration
		err  string
	}{
		{text: "90s", want: 90 * time.Second},
		{text: "1h30m", want: 90 * time.Minute},
		{text: "7d", want: 168 * time.Hour},
		{text: "1d12h", want: 36 * time.Hour},
		{text: "0d", want: 0},
		{text: "0", want: 0},
		{text: "-1h", want: -time.Hour},
		{text: "7", err: `"7" is no duration: write 90s, 5m, 1h30m, 7d or 1d12h`},
		{text: "", err: `"" is no duration: write 90s, 5m, 1h30m, 7d or 1d12h`},
		{text: "d", err: `"d" is no duration: write 90s, 5m, 1h30m, 7d or 1d12h`},
		{text: "2w", err: `"2w" is no duration: write 90s, 5m, 1h30m, 7d or 1d12h`},
		{text: "1d-1h", err: `"1d-1h" is no duration: write 90s, 5m, 1h30m, 7d or 1d12h`},
		{text: "1h1d", err: `"1h1d" is no duration: write 90s, 5m, 1h30m, 7d or 1d12h`},
		{text: "106751d", err: `"106751d" is longer than can be counted`},
		{text: "99999999999999999999d", err: `"99999999999999999999d" is longer than can be counted`},
	}
	for _, c := range cases {
		got, err := span.Parse(c.text)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
			t.Errorf("%q: got %s and %v, want %s and %q", c.text, got, err, c.want, c.err)
		}
	}
}

func TestText(t *testing.T) {
	for length, want := range map[time.Duration]string{
		24 * time.Hour: "24h", 90 * time.Minute: "1h30m", 10 * time.Minute: "10m", 10 * time.Second: "10s",
		time.Hour + time.Second: "1h0m1s", 0: "0s", 300 * time.Millisecond: "300ms",
	} {
		if got := span.Text(length); got != want {
			t.Errorf("%v: got %s, want %s", int64(length), got, want)
		}
	}
}

func TestVar(t *testing.T) {
	timeout := time.Hour
	flags := pflag.NewFlagSet("umbel", pflag.ContinueOnError)
	span.Var(flags, &timeout, "timeout", "`DURATION` to wait")
	if usage := flags.FlagUsages(); usage != "      --timeout DURATION   DURATION to wait (default 1h)\n" {
		t.Errorf("help: got %q", usage)
	}
	var none time.Duration
	span.Var(flags, &none, "idle", "`DURATION` of nothing (default: what the hub says)")
	if usage := flags.FlagUsages(); !strings.HasPrefix(usage, "      --idle DURATION      DURATION of nothing (default: what the hub says)\n") {
		t.Errorf("help of what has no default here: got %q", usage)
	}
	if err := flags.Parse([]string{"--timeout", "2d"}); err != nil || timeout != 48*time.Hour {
		t.Errorf("got %s and %v", timeout, err)
	}
	err := flags.Parse([]string{"--timeout", "soon"})
	if want := `invalid argument "soon" for "--timeout" flag: "soon" is no duration: write 90s, 5m, 1h30m, 7d or 1d12h`; err == nil || err.Error() != want || timeout != 48*time.Hour {
		t.Errorf("got %v and %s", err, timeout)
	}
}
