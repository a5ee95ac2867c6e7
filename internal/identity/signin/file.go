package signin

import (
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"
)

// maxFile is the most bytes that the file may have: each of up to 64 providers may bring a bundle of certificates.
const maxFile = 4 << 20

// parse reads an AuthenticationConfiguration, strictly, and checks it. path is for errors only.
func parse(path string, raw []byte) (*apiserver.AuthenticationConfiguration, error) {
	if len(raw) > maxFile {
		return nil, fmt.Errorf("authentication configuration %s: it has more than %d bytes", path, maxFile)
	}
	scheme := runtime.NewScheme()
	install.Install(scheme)
	codecs := serializer.NewCodecFactory(scheme, serializer.EnableStrict)
	object, err := runtime.Decode(codecs.UniversalDecoder(), raw)
	if err != nil {
		return nil, fmt.Errorf("authentication configuration %s: %w", path, err)
	}
	config, ok := object.(*apiserver.AuthenticationConfiguration)
	if !ok {
		return nil, fmt.Errorf("authentication configuration %s: it holds a %T, want an AuthenticationConfiguration of apiserver.config.k8s.io/v1", path, object)
	}
	if config.Anonymous != nil {
		return nil, fmt.Errorf("authentication configuration %s: anonymous: nobody is anonymous on a hub: remove the field", path)
	}
	if wrong := validation.ValidateAuthenticationConfiguration(authenticationcel.NewDefaultCompiler(), config, nil); len(wrong) > 0 {
		return nil, fmt.Errorf("authentication configuration %s: %w", path, wrong.ToAggregate())
	}
	return config, nil
}

func read(path string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the authentication configuration: %w", err)
	}
	return raw, nil
}

// Check says what is wrong with the file, if anything.
func Check(path string) error {
	raw, err := read(path)
	if err != nil {
		return err
	}
	_, err = parse(path, raw)
	return err
}
