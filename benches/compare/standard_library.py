# A data source of Python's standard library, as one would write it.
import json
import os
import sys
import urllib.request

query = json.load(sys.stdin)
url = f"{os.environ['OPENAI_BASE_URL']}/fine_tuning/jobs/{query['fine_tuning_job_id']}"
request = urllib.request.Request(url, headers={"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"})
with urllib.request.urlopen(request) as response:
    job = json.load(response)


def text(value):
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


print(json.dumps({key: text(value) for key, value in job.items()}))
