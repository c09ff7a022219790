#!/bin/sh
# On what machine the benchmark runs, and with what: no path and no name of a host.
set -eu
. /etc/os-release
processor=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1)
sdk=$("$1" -c 'import openai; print(openai.__version__)')
echo "On $processor, $(nproc) cores, $PRETTY_NAME; $(curl --version | head -n 1 | cut -d ' ' -f 1-2), $(jq --version)," \
  "$("$1" --version), openai $sdk; $(grep -c 'BEGIN CERTIFICATE' "$2") root certificates"
