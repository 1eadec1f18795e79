#!/usr/bin/env python3
"""What a user's own DNS script looks like to knit's `exec` provider: present|cleanup NAME VALUE.

It speaks to the test DNS server at $DEMO_DNS; a real one would call a DNS host's API.
"""

import json
import os
import sys
import urllib.request

action, name, value = sys.argv[1:4]
path, body = ("set-txt", {"host": name, "value": value}) if action == "present" else ("clear-txt", {"host": name})
request = urllib.request.Request(f"{os.environ['DEMO_DNS']}/{path}", json.dumps(body).encode())
urllib.request.urlopen(request, timeout=10).read()
