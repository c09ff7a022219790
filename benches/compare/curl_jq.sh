#!/bin/sh
# A data source of curl and jq, as one would write it.
set -eu
id=$(jq -r .fine_tuning_job_id)
curl -sSf -H "Authorization: Bearer $OPENAI_API_KEY" "$OPENAI_BASE_URL/fine_tuning/jobs/$id" |
  jq -c 'map_values(if . == null then "" elif type == "string" then . else tojson end)'
