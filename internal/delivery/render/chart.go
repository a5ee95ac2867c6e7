package render

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
	"helm.sh/helm/v4/pkg/ignore"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/internal/delivery/sops"
	"umbel.dev/umbel/internal/delivery/source"
)

// chartFile is what makes a folder a chart.
const chartFile = "Chart.yaml"

// defaultKubeVersion is the Kubernetes that charts are told of: that of the API's libraries.
const defaultKubeVersion = "v1.36.0"

// ChartOptions say how a chart is rendered. The zero value renders it with what it brings.
type ChartOptions struct {
	// ReleaseName and Namespace are what templates see as .Release.Name and .Release.Namespace. Objects without a namespace,
	// of kinds that have one, get it.
	ReleaseName, Namespace string
	// ValuesFiles are files of values in the chart, from the root of the source or of the chart, one over the other.
	ValuesFiles []string
	// Values are documents of values, as YAML or JSON, one over the other and over the files.
	Values []Values
	// KubeVersion and APIVersions are what templates see as .Capabilities, beside the API versions of Kubernetes itself.
	KubeVersion string
	APIVersions []string
	// Secrets are texts that no error may have in it.
	Secrets []string `json:"-"`
}

// Values are one document of values, and where it is from.
type Values struct {
	From     string // a field, for errors
	Document []byte
}

// IsChart says whether a folder is a Helm chart and not to be built otherwise.
func IsChart(files fs.FS, folder string) (bool, error) {
	entries, err := fs.ReadDir(files, path.Clean(folder))
	if err != nil {
		return false, fmt.Errorf("reading folder %q: %w", folder, err)
	}
	isChart := false
	for _, entry := range entries {
		if isKustomization(entry.Name()) {
			return false, nil
		}
		isChart = isChart || entry.Name() == chartFile && !entry.IsDir()
	}
	return isChart, nil
}

// charted are the objects of a chart, and what is left out of it.
type charted struct {
	objects []object
	left    []string
}

// chartReader finds the objects of a chart.
type chartReader func(files fs.FS, folder string, o ChartOptions) (charted, error)

// Chart is the Maker of a chart. It renders as `helm template --include-crds` does, with nothing but its files and values: it is
// asked of no cluster, no network and no clock. What becomes of hooks is said in hooks.go.
func Chart(files fs.FS, folder string, o ChartOptions) Maker {
	return chartBy(readChart, files, folder, o)
}

func chartBy(read chartReader, files fs.FS, folder string, o ChartOptions) Maker {
	folder = path.Clean(folder)
	return func(choice Choice) (*Rendered, error) {
		if len(choice.Components) > 0 {
			return nil, fmt.Errorf("spec.variants: components are for kustomizations, and %q is a chart", folder)
		}
		o := o
		o.Values = slices.Concat(o.Values, choice.Values)
		found, err := read(files, folder, o)
		if err == nil && len(found.objects) == 0 {
			return nil, fmt.Errorf("the chart in %q: %w", folder, ErrEmpty)
		}
		var rendered *Rendered
		if err == nil {
			rendered, err = collect(folder, found.objects)
		}
		if err != nil {
			return nil, errors.New(strings.Join(strings.Fields(source.Scrub(err.Error(), o.Secrets)), " "))
		}
		rendered.LeftOut = found.left
		return rendered, nil
	}
}

// LeftOut names what is left out for any of the clusters, so many at the most.
func (f *Family) LeftOut(most int) []string {
	all := map[string]bool{}
	for _, rendered := range f.made {
		for _, left := range rendered.LeftOut {
			all[left] = true
		}
	}
	left := slices.Sorted(maps.Keys(all))
	return left[:min(len(left), most)]
}

// readChart is a chartReader.
func readChart(files fs.FS, folder string, o ChartOptions) (charted, error) {
	c, err := loadChart(files, folder)
	if err != nil {
		return charted{}, err
	}
	texts, err := runTemplates(c, files, folder, o)
	if err == nil {
		err = refuseAddresses(texts, files, folder, o)
	}
	if err != nil {
		return charted{}, err
	}
	found, err := chartObjects(c, folder, texts)
	if err != nil {
		return charted{}, err
	}
	kept, left, err := withoutHooks(found)
	if err != nil {
		return charted{}, err
	}
	if err := refuseSealed(kept, chartsAreNotSealed); err != nil {
		return charted{}, err
	}
	inNamespace(kept, o.Namespace)
	return charted{kept, left}, nil
}

// runTemplates returns what templates give, and the CustomResourceDefinitions beside them, by the names of files.
func runTemplates(c *chart.Chart, files fs.FS, folder string, o ChartOptions) (map[string]string, error) {
	values, err := mergeValues(files, folder, o)
	if err != nil {
		return nil, err
	}
	capabilities, err := capabilitiesOf(o)
	if err != nil {
		return nil, err
	}
	if err := suits(c, capabilities, folder); err != nil {
		return nil, err
	}
	if err := chartutil.ProcessDependencies(c, values); err != nil {
		return nil, fmt.Errorf("%s: dependencies: %w", path.Join(folder, chartFile), err)
	}
	release := common.ReleaseOptions{Name: o.ReleaseName, Namespace: o.Namespace, Revision: 1, IsInstall: true}
	// The schemas are looked at below: Helm would fetch those that they refer to.
	given, err := util.ToRenderValuesWithSchemaValidation(c, values, release, capabilities, true)
	if err != nil {
		return nil, fmt.Errorf("putting the values of chart %q together: %w", c.Name(), err)
	}
	if err := checkSchemas(c, given["Values"], folder); err != nil {
		return nil, err
	}
	crds := c.CRDObjects()
	texts, err := engine.Engine{CustomTemplateFuncs: hermetic()}.Render(c, given)
	if err != nil {
		return nil, fmt.Errorf("rendering chart %q: %w", c.Name(), err)
	}
	for _, crd := range crds {
		texts[crd.Filename] = string(crd.File.Data)
	}
	return texts, nil
}

// addressInMemory is what a template prints of something that it has no words for, such as {{ .Capabilities }}.
var addressInMemory = regexp.MustCompile(`\b0x[0-9a-f]{6,12}\b`)

// refuseAddresses runs templates again that seem to print where something is in memory, to see whether it stays there.
func refuseAddresses(texts map[string]string, files fs.FS, folder string, o ChartOptions) error {
	if !slices.ContainsFunc(slices.Collect(maps.Values(texts)), addressInMemory.MatchString) {
		return nil
	}
	c, err := loadChart(files, folder)
	if err != nil {
		return err
	}
	again, err := runTemplates(c, files, folder, o)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if texts[name] != again[name] {
			return fmt.Errorf("%s: it prints where something is in memory, which is somewhere else each time: print a field of it, or all of it by toYaml",
				path.Join(folder, strings.TrimPrefix(name, c.Name()+"/")))
		}
	}
	return nil
}

// loadChart reads the files of a chart, without those that its .helmignore names.
func loadChart(files fs.FS, folder string) (*chart.Chart, error) {
	rules := ignore.Empty()
	raw, err := fs.ReadFile(files, path.Join(folder, ignore.HelmIgnore))
	if err == nil {
		rules, err = ignore.Parse(bytes.NewReader(raw))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path.Join(folder, ignore.HelmIgnore), unwrapPath(err))
	}
	rules.AddDefaults()
	var buffered []*archive.BufferedFile
	err = fs.WalkDir(files, folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("%s: %w", name, unwrapPath(err))
		}
		within := strings.TrimPrefix(strings.TrimPrefix(name, folder), "/")
		if folder == "." {
			within = name
		}
		if name == folder {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return fmt.Errorf("%s: %w", name, unwrapPath(err))
		}
		switch ignored := rules.Ignore(within, info); {
		case entry.IsDir() && ignored:
			return fs.SkipDir
		case entry.IsDir() || ignored:
			return nil
		}
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, unwrapPath(err))
		}
		buffered = append(buffered, &archive.BufferedFile{Name: within, Data: bytes.TrimPrefix(content, []byte("\ufeff"))})
		return nil
	})
	if err != nil {
		return nil, err
	}
	c, err := loader.LoadFiles(buffered)
	if err != nil {
		return nil, fmt.Errorf("loading the chart in %q: %w", folder, err)
	}
	return c, nil
}

// suits says why a chart cannot be rendered: a part is missing, or it is for another Kubernetes.
func suits(c *chart.Chart, capabilities *common.Capabilities, folder string) error {
	file := path.Join(folder, chartFile)
	if c.Metadata.Type == "library" {
		return fmt.Errorf("%s: type: a library holds nothing to deliver", file)
	}
	have := map[string]bool{}
	for _, dependency := range c.Dependencies() {
		have[dependency.Name()] = true
	}
	for i, wants := range c.Metadata.Dependencies {
		if !have[wants.Name] {
			return fmt.Errorf("%s: dependencies[%d]: chart %q is not in charts/: dependencies are not fetched, commit what `helm dependency build` brings", file, i, wants.Name)
		}
	}
	if wants := c.Metadata.KubeVersion; wants != "" {
		constraint, err := semver.NewConstraint(wants)
		if err != nil {
			return fmt.Errorf("%s: kubeVersion: %q is no range of versions", file, wants)
		}
		version, err := semver.NewVersion(capabilities.KubeVersion.String())
		if err != nil || !constraint.Check(version) {
			return fmt.Errorf("%s: kubeVersion: it is for Kubernetes %s, and is rendered for %s (spec.helm.kubeVersion)", file, wants, capabilities.KubeVersion.String())
		}
	}
	return nil
}

// mergeValues lays files and documents of values one over the other.
func mergeValues(files fs.FS, folder string, o ChartOptions) (map[string]any, error) {
	merged := map[string]any{}
	for i, name := range o.ValuesFiles {
		raw, err := fs.ReadFile(files, path.Join(folder, name))
		if err != nil {
			return nil, fmt.Errorf("spec.helm.valuesFiles[%d]: %s: %w", i, path.Join(folder, name), unwrapPath(err))
		}
		read, err := parseValues(path.Join(folder, name), raw)
		if err != nil {
			return nil, err
		}
		merged = loader.MergeMaps(merged, read)
	}
	for _, values := range o.Values {
		read, err := parseValues(values.From, values.Document)
		if err != nil {
			return nil, err
		}
		merged = loader.MergeMaps(merged, read)
	}
	return merged, nil
}

// chartsAreNotSealed is why nothing encrypted goes through a chart.
const chartsAreNotSealed = "and a chart is rendered on the hub, which cannot decrypt it: deliver a Secret of its own, encrypted, " +
	"by a Package of plain files or a kustomization, and have the chart refer to that by its name"

// parseValues reads a document of values. Its error quotes nothing: there may be secrets in it.
func parseValues(from string, raw []byte) (map[string]any, error) {
	var values map[string]any
	if sops.Detect(raw) != sops.None {
		return nil, fmt.Errorf("%s: is encrypted by SOPS, %s", from, chartsAreNotSealed)
	}
	if err := yaml.Unmarshal(raw, &values); err != nil {
		where := lineNumber.FindString(err.Error())
		return nil, fmt.Errorf("%s: is no map of values in YAML (%s)", from, strings.TrimSpace("wrong "+where))
	}
	return values, nil
}

func capabilitiesOf(o ChartOptions) (*common.Capabilities, error) {
	text := o.KubeVersion
	if text == "" {
		text = defaultKubeVersion
	}
	version, err := common.ParseKubeVersion(text)
	if err != nil {
		return nil, fmt.Errorf("spec.helm.kubeVersion: %q is no version of Kubernetes such as v1.33", text)
	}
	capabilities := common.DefaultCapabilities.Copy()
	capabilities.KubeVersion = *version
	capabilities.APIVersions = slices.Concat(capabilities.APIVersions, o.APIVersions)
	return capabilities, nil
}

// chartObjects reads what templates gave, file by file.
func chartObjects(c *chart.Chart, folder string, texts map[string]string) ([]object, error) {
	var found []object
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if path.Base(name) == "NOTES.txt" || strings.TrimSpace(texts[name]) == "" {
			continue
		}
		file := path.Join(folder, strings.TrimPrefix(name, c.Name()+"/"))
		objects, err := documents(file, []byte(texts[name]))
		if err != nil {
			return nil, fmt.Errorf("of what the template gives: %w", err)
		}
		found = append(found, objects...)
	}
	return found, nil
}
