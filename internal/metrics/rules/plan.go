package rules

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/internal/metrics/store"
)

// Read reads the spec of a PrometheusRule, whole or not at all. The error names groups and rules.
func Read(spec map[string]any, read parser.Parser) (*rulefmt.RuleGroups, error) {
	text, err := yaml.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("spec: %w", err)
	}
	// Fields that Prometheus does not know are those of Thanos: the kind has no others.
	groups, problems := rulefmt.Parse(text, true, model.UTF8Validation, read)
	if len(problems) == 0 {
		for _, group := range groups.Groups {
			for _, rule := range group.Rules {
				if store.Reserved(rule.Record) {
					problems = append(problems, fmt.Errorf("group %q, record %q: such names are for what the hub says itself", group.Name, rule.Record))
				}
			}
		}
	}
	if len(problems) > 0 {
		return nil, errors.New("spec: " + sentence(problems))
	}
	return groups, nil
}

// place is where in a text that nobody wrote something stands.
var place = regexp.MustCompile(`^(\d+:\d+: )+`)

// sentence says what is wrong with an object, at most three things.
func sentence(problems []error) string {
	const most = 3
	var texts []string
	for _, problem := range problems[:min(most, len(problems))] {
		var where *rulefmt.Error
		if errors.As(problem, &where) && where.RuleName != "" {
			texts = append(texts, fmt.Sprintf("groups[%q].rules[%d] (%s): %v", where.Group, where.Rule-1, where.RuleName, place.ReplaceAllString(errors.Unwrap(where).Error(), "")))
			continue
		}
		texts = append(texts, problem.Error())
	}
	text := strings.ReplaceAll(strings.Join(texts, "; "), "\n", " ")
	if more := len(problems) - most; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}
