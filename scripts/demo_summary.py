"""Print where a deployed host answers, from `ansible-inventory --list` on standard input."""

from __future__ import annotations

import json
import shlex
import sys

key, reports = sys.argv[1:3]
# What comes from the API is marked as unsafe for templating.
inventory = json.load(sys.stdin, object_hook=lambda it: it.get("__ansible_unsafe", it))
hosts = inventory["_meta"]["hostvars"]
for name in inventory.get("trading", {}).get("hosts", []):
    facts = hosts[name]
    address, user = facts["ansible_host"], facts.get("ansible_user", "root")
    print(f"""
{name}
  live page      http://{address}:8000/
  health         curl http://{address}:8000/health
  numbers        curl http://{address}:8000/latest
  Prometheus     curl http://{address}:8000/metrics
  order entry    {address}:9001  (OUCH 4.2 over SoupBinTCP)
  market data    {address}:9002  (ITCH 5.0 over SoupBinTCP)
  shell          ssh -i {shlex.quote(key)} {user}@{address}
  inventory      eval "$(scripts/sandbox env)"; scripts/run ansible-inventory -i inventory/sandbox/aws_ec2.yml --graph
  report         {reports}
  other plays    scripts/demo play playbooks/diagnose.yml
  take it back   scripts/demo down""")
