"""A deployed stack on moto: the template, its resources, its event sources, and a clock in the test's hands.

synthesise(agents=…)      template.py       what `cdk synth` writes, read back
Account()                 account.py        an AWS account on moto, with clocks that stand still
Cloud(account)            cloudformation.py creates, updates, rolls back and destroys what a template says
Function                  functions.py      runs the real handler, started cold, in its role and environment
Stack(…)                  stack.py          all of it together: deploy, live, request, verify
"""
