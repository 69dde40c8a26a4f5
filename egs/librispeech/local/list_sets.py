"""Print the sets that sets.json has for a purpose: list_sets.py <sets.json> dev|test."""

import json
import sys

with open(sys.argv[1], encoding="utf-8") as stream:
    print(*json.load(stream)[sys.argv[2]])
