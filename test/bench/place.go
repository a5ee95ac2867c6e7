package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"umbel.dev/umbel/test/report"
	"umbel.dev/umbel/test/rig"
)

// placeGoal is what a change of one label may cost, in ms of a processor, with 10,000 clusters and 1,000 Placements.
const placeGoal = 10

// measurePlace runs the benchmark of package placement, which looks into the controller's book: what a change of one label
// costs, with 1,000 Placements of several kinds.
func measurePlace(ctx context.Context, _ *rig.Fleet, r *report.Report) error {
	command := exec.CommandContext(ctx, "go", "test", "./internal/placement", "-run", "^$", "-bench", "LabelChange/.*/clusters=10000", "-benchtime", "20x")
	command.Dir = rig.Root()
	said, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("running the benchmark of placements: %w: %s", err, said)
	}
	figures := 0
	for lines := bufio.NewScanner(bytes.NewReader(said)); lines.Scan(); {
		kind, ms, is, err := placeFigure(lines.Text())
		if err != nil {
			return err
		}
		if is {
			figures++
			r.Lower("one label of 10,000 clusters changes, 1,000 placements: "+kind, ms, "ms", placeGoal)
		}
	}
	if figures == 0 {
		return fmt.Errorf("the benchmark of placements says no figure: %s", said)
	}
	return nil
}

// placeFigure reads a line of a benchmark: of which kind of Placements, and milliseconds of a processor for each change.
func placeFigure(line string) (kind string, ms float64, is bool, err error) {
	words := strings.Fields(line)
	if len(words) == 0 || !strings.HasPrefix(words[0], "BenchmarkLabelChange/") {
		return "", 0, false, nil
	}
	kind = strings.Split(words[0], "/")[1]
	for i, word := range words {
		if word == "cpu-ms/op" {
			ms, err = strconv.ParseFloat(words[i-1], 64)
			return kind, ms, err == nil, err
		}
	}
	return "", 0, false, fmt.Errorf("a figure without cpu-ms/op: %s", line)
}
