#!/bin/sh
# Copies a database as text, through a pipe: the dump proves itself complete before anything is loaded.
#
#   copy.sh FROM TO
set -eu
KVDB=${KVDB:-kvdb}

$KVDB --db "$1" .dump | $KVDB --db "$2" .load -
