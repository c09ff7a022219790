# A data source of OpenAI's SDK, as one would write it.
import json
import sys

from openai import OpenAI

query = json.load(sys.stdin)
job = OpenAI().fine_tuning.jobs.retrieve(query["fine_tuning_job_id"]).to_dict()


def text(value):
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


print(json.dumps({key: text(value) for key, value in job.items()}))
