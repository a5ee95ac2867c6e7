package view

import (
	"time"

	"umbel.dev/umbel/api/v1alpha1"
)

// Source is where the manifests of a package come from, in words.
type Source struct {
	// Label says what the URL is of: Git, OCI or Helm.
	Label string
	// Field is where it stands: git, oci, helm or inline.
	Field string
	URL   string
	// VersionLabel and Version say which version is meant.
	VersionLabel, Version string
	// Path is the folder, or the name of the chart.
	Path   string
	Secret string
	Every  time.Duration
}

// SourceOf describes the source of a package.
func SourceOf(source v1alpha1.Source) Source {
	switch {
	case source.Git != nil:
		git := source.Git
		s := Source{Label: "Git", Field: "git", URL: git.URL, VersionLabel: "Ref", Version: or(git.Ref, "main"), Path: git.Path}
		if git.Semver != "" {
			s.VersionLabel, s.Version = "Versions", git.Semver
		}
		if git.PollInterval != nil {
			s.Every = git.PollInterval.Duration
		}
		return s.with(git.SecretRef)
	case source.OCI != nil:
		oci := source.OCI
		s := Source{Label: "OCI", Field: "oci", URL: oci.URL, VersionLabel: "Tag", Version: or(oci.Tag, "latest"), Path: oci.Path}
		if oci.Semver != "" {
			s.VersionLabel, s.Version = "Versions", oci.Semver
		}
		if oci.Digest != "" {
			s.VersionLabel, s.Version = "Digest", oci.Digest
		}
		if oci.PollInterval != nil {
			s.Every = oci.PollInterval.Duration
		}
		return s.with(oci.SecretRef)
	case source.Helm != nil:
		helm := source.Helm
		s := Source{Label: "Helm", Field: "helm", URL: helm.URL, VersionLabel: "Versions", Version: or(helm.Version, "*"), Path: helm.Chart}
		if helm.PollInterval != nil {
			s.Every = helm.PollInterval.Duration
		}
		return s.with(helm.SecretRef)
	}
	return Source{Field: "inline", Path: "(inline)"}
}

func (s Source) with(secret *v1alpha1.LocalReference) Source {
	if secret != nil {
		s.Secret = secret.Name
	}
	return s
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
