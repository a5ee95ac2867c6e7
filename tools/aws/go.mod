module umbel.dev/umbel-aws

go 1.26.0

require (
	github.com/aws/aws-sdk-go-v2 v1.43.7
	github.com/google/go-cmp v0.7.0
)

require github.com/aws/smithy-go v1.27.8 // indirect
