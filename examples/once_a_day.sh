#!/bin/sh
# Runs a command at most once a day, however often it is called: for cron jobs that must not repeat themselves.
#
#   once_a_day.sh NAME COMMAND [ARG...]
set -eu
KVDB=${KVDB:-kvdb}
name=$1
shift

today=$(date +%F)
if [ "$($KVDB --raw get "ran:$name" || true)" = "$today" ]; then
  echo "$name has run today"
  exit 0
fi
"$@"
$KVDB set "ran:$name" "$today" > /dev/null
