# For users: demo, serve; on AWS: synth, bootstrap, deploy, diff, destroy. For developers: the rest.
# Each target first makes .venv what it needs (tools/setup).
# PYTHON=/path/to/python3 chooses the interpreter, ARGS='…' goes to the command. GNU make 3.81 is enough.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo serve synth bootstrap deploy diff destroy test test-slow check bench docs format lock clean
.PHONY: venv-uv venv-demo venv-infra venv-dev

# Without bytecode every process would compile lfx anew, which takes longer than a test.
unexport PYTHONDONTWRITEBYTECODE

RUN := .venv/bin/python -m
ARGS :=

help: ## show this list
	@echo "usage: make TARGET [PYTHON=/path/to/python3] [ARGS='…']"
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1|\2/p' Makefile | awk -F '|' '{ printf "%-12s %s\n", $$1, $$2 }'

demo: venv-demo ## watch flows and agents run unattended, about 30 s after installation
	@.venv/bin/overnight demo $(ARGS)

serve: venv-demo ## start the embedded engine, e.g. ARGS='--port 8080'
	@.venv/bin/overnight serve $(ARGS)

synth: venv-infra ## write the CloudFormation template to cdk.out, e.g. ARGS='-c name=night-shift'
	@tools/cdk synth --quiet $(ARGS)

bootstrap: venv-infra ## prepare an AWS account and region for the CDK, once
	@tools/cdk bootstrap $(ARGS)

deploy: venv-infra ## deploy the stack into your AWS account, or update it
	@tools/cdk deploy $(ARGS)

diff: venv-infra ## show what a deployment would change
	@tools/cdk diff $(ARGS)

destroy: venv-infra ## remove the stack, and list what stays
	@tools/cdk destroy $(ARGS)
	@$(RUN) infra.remains $(ARGS)

test: venv-dev ## the tests that are quick
	tools/test "not slow" $(ARGS)

test-slow: venv-dev ## the tests that take long
	tools/test slow $(ARGS)

check: venv-dev ## format, lint and types
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy

bench: venv-dev ## measure Overnight beside its peers, in some 20 minutes, e.g. ARGS='--only pickup' or --quick
	$(RUN) tests.bench $(ARGS)

docs: venv-dev ## write the pages of docs/ that are made from the code
	$(RUN) tools.docs $(ARGS)

format: venv-dev ## format, and mend what ruff can mend
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

lock: venv-uv ## resolve requirements/ from pyproject.toml, e.g. ARGS=--upgrade
	tools/lock $(ARGS)

clean: ## remove the virtual environment and all caches
	rm -rf .venv node_modules cdk.out .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

venv-uv venv-demo venv-infra venv-dev:
	@tools/setup $(subst venv-,,$@)
