#!/bin/sh
# Lower rooms never include higher ones; lua.h belongs to script/ and to what evaluates and reads a configuration, curl to deliver/http_*.
# Usage: layers.sh "base spool …" (lowest first)
set -eu
bad=0
below=""
for room in $1; do
    below="$below $room"
    allowed=$(echo $below | tr ' ' '|')
    found=$(grep -nE '^#include "[a-z]+/' src/"$room"/*.[ch] | grep -vE "#include \"($allowed)/" || true)
    if [ -n "$found" ]; then
        echo "$room may include only:$below"
        echo "$found"
        bad=1
    fi
done
found=$(grep -nE '#include <(lua|lauxlib|lualib|luajit)\.h' src/*/*.[ch] | grep -vE '^src/(script/|config/(evaluate|read_[a-z]+)\.[ch])' || true)
[ -z "$found" ] || { echo "Lua outside its rooms:"; echo "$found"; bad=1; }
found=$(grep -nE '#include <curl/' src/*/*.[ch] | grep -v '^src/deliver/http_[a-z]*\.[ch]' || true)
[ -z "$found" ] || { echo "curl outside deliver/http_*:"; echo "$found"; bad=1; }
exit $bad
