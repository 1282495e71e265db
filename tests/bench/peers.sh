#!/bin/sh
# Fetches nginx and its Lua module from Debian and unpacks them into a folder of the build, for `make bench` to measure.
# Usage: tests/bench/peers.sh FOLDER
#
# They are not installed: Debian's Lua module needs libluajit2, which takes the place of the LuaJIT that the relay is built with.
set -eu

to=${1:?usage: tests/bench/peers.sh FOLDER}
[ -x "$to/usr/sbin/nginx" ] && exit 0
command -v apt-get >/dev/null 2>&1 || { echo "peers: this is not Debian or Ubuntu; nginx + Lua is not measured" >&2; exit 1; }
mkdir -p "$to/packages"
cd "$to/packages"
echo "Fetching nginx and its Lua module into $to"
apt-get download nginx libnginx-mod-http-ndk libnginx-mod-http-lua lua-resty-core lua-resty-lrucache libluajit2-5.1-2 >log 2>&1 || {
    cat log >&2
    exit 1
}
for package in *.deb; do dpkg -x "$package" ..; done
