"""The stack: what `cdk deploy` puts into an AWS account."""
