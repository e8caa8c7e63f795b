#!/bin/sh
# A to-do list in a few lines of shell: numbers from a counter, items as keys that sort by number.
#
#   todo.sh add "water the plants"     todo.sh done 1     todo.sh list
set -eu
KVDB=${KVDB:-kvdb}

case ${1:-list} in
  add)  number=$($KVDB incr todo-count)
        $KVDB set "todo:$(printf %04d "$number")" "$2" ;;
  done) $KVDB delete "todo:$(printf %04d "$2")" ;;
  list) $KVDB scan todo: ;;
  *)    echo "usage: todo.sh add TEXT | done NUMBER | list" >&2; exit 2 ;;
esac
