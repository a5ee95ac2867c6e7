package decide

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/ext"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/cel/library"
)

// maxCost bounds what one expression may cost for one cluster, in CEL's units: some tens of comparisons are 100, and
// this much is well under a millisecond. So ten thousand clusters take seconds at the very worst.
const maxCost = 10_000

// The variables of expressions.
const (
	variableName       = "cluster.name"
	variableLabels     = "cluster.labels"
	variableProperties = "cluster.properties"
	variableVersion    = "cluster.version"
	variableAgent      = "cluster.agentVersion"
)

// environment is made once: it takes milliseconds, and has no state.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	texts := cel.MapType(cel.StringType, cel.StringType)
	return cel.NewEnv(
		cel.Variable(variableName, cel.StringType), cel.Variable(variableLabels, texts), cel.Variable(variableProperties, texts),
		cel.Variable(variableVersion, cel.StringType), cel.Variable(variableAgent, cel.StringType),
		cel.CrossTypeNumericComparisons(true), cel.OptionalTypes(), ext.Strings(ext.StringsVersion(2)), ext.Sets(),
		library.SemverLib(library.SemverVersion(1)), library.Quantity(), library.Regex(), library.Lists(), library.IP(), library.CIDR(),
	)
})

// purpose is what an expression is to give.
type purpose int

const (
	condition purpose = iota // true or false
	points                   // a number, or true or false
)

// expression is an expression in CEL, compiled.
type expression struct {
	text    string
	program cel.Program
	ast     *cel.Ast
	// observed: it looks at what an agent says, and not at what people say only.
	observed bool
}

func expressionOf(text string, path *field.Path, to purpose) (*expression, *field.Error) {
	env, err := environment()
	if err != nil {
		return nil, field.InternalError(path, fmt.Errorf("preparing CEL: %w", err))
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, field.Invalid(path, text, complaint(issues))
	}
	if wrong := to.refuses(ast.OutputType()); wrong != "" {
		return nil, field.Invalid(path, text, wrong)
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if !cheap(env, ast) {
		options = append(options, cel.CostTracking(&library.CostEstimator{}), cel.CostLimit(maxCost))
	}
	program, err := env.Program(ast, options...)
	if err != nil {
		return nil, field.Invalid(path, text, err.Error()) // such as a regular expression that cannot be read
	}
	return &expression{text: text, program: program, ast: ast, observed: observes(ast)}, nil
}

// cheap says whether an expression cannot cost too much, however much there is of a cluster: such as one that compares a label with a word.
// Then no account of its cost is kept, which takes longer than the expression.
func cheap(env *cel.Env, ast *cel.Ast) bool {
	cost, err := env.EstimateCost(ast, &library.CostEstimator{})
	return err == nil && cost.Max <= maxCost
}

// refuses says what is wrong with a type as the result; nothing when it is right.
func (p purpose) refuses(is *cel.Type) string {
	switch {
	case is.IsExactType(cel.BoolType):
		return ""
	case p == points && (is.IsExactType(cel.IntType) || is.IsExactType(cel.UintType) || is.IsExactType(cel.DoubleType)):
		return ""
	case p == points:
		return fmt.Sprintf("has to give a number, true or false, and gives %s", is)
	}
	return fmt.Sprintf("has to give true or false, and gives %s", is)
}

// complaint puts what is wrong with an expression into one line, with where.
func complaint(issues *cel.Issues) string {
	var all []string
	for _, e := range issues.Errors() {
		all = append(all, fmt.Sprintf("line %d, column %d: %s", e.Location.Line(), e.Location.Column()+1, e.Message))
	}
	return strings.Join(all, "; ")
}

// observes says whether an expression refers to what an agent says.
func observes(ast *cel.Ast) bool {
	for _, reference := range ast.NativeRep().ReferenceMap() {
		switch reference.Name {
		case variableProperties, variableVersion, variableAgent:
			return true
		}
	}
	return false
}

// holds says whether the expression is true of the cluster. With unknown comes why.
func (e *expression) holds(c *Cluster) (answer, error) {
	value, err := e.eval(c)
	if err != nil {
		return unknown, err
	}
	is, ok := value.Value().(bool)
	if !ok {
		return unknown, fmt.Errorf("gives %s", value.Type())
	}
	return answerOf(is), nil
}

// points are what the expression gives the cluster: 0 to 100, and none when it errs.
func (e *expression) points(c *Cluster) (int64, error) {
	value, err := e.eval(c)
	if err != nil {
		return 0, err
	}
	switch v := value.Value().(type) {
	case bool:
		if v {
			return 100, nil
		}
		return 0, nil
	case int64:
		return min(max(v, 0), 100), nil
	case uint64:
		return int64(min(v, 100)), nil
	case float64:
		if v >= 0 { // which is false for what is no number
			return int64(min(v, 100)), nil
		}
		return 0, nil
	}
	return 0, fmt.Errorf("gives %s", value.Type())
}

func (e *expression) eval(c *Cluster) (ref.Val, error) {
	value, _, err := e.program.Eval(variables{c})
	if err == nil {
		return value, nil
	}
	if wrong, ok := errors.AsType[*types.Err](err); ok {
		if at := e.ast.NativeRep().SourceInfo().GetStartLocation(wrong.NodeID()); at.Line() > 0 {
			return nil, fmt.Errorf("line %d, column %d: %w", at.Line(), at.Column()+1, err)
		}
	}
	return nil, err
}

// variables gives an expression what it asks of a cluster.
type variables struct{ *Cluster }

// ResolveName implements cel.Activation.
func (v variables) ResolveName(name string) (any, bool) {
	switch name {
	case variableName:
		return string(v.Name), true
	case variableLabels:
		return v.Labels, true
	case variableProperties:
		return v.Properties, true
	case variableVersion:
		return v.KubernetesVersion, true
	case variableAgent:
		return v.AgentVersion, true
	}
	return nil, false
}

// Parent implements cel.Activation.
func (v variables) Parent() cel.Activation { return nil }
