#!/bin/sh
# Measures the relay and its peers on this machine, and prints one table beside the targets. README.md says what and how.
#
#     BENCH="accept batch job script json memory isolation"   which parts; all of them
#     SECONDS_EACH=5                                   length of one measurement
#     ROUNDS=2                                         measurements of each, by turns; the best counts
#     RATE=2000                                        events a second for the isolation part
#     MANNERS="refuse hang 500 429 drip slow"          which partners the isolation part has
#
# Exit: 1 when a misbehaving partner costs the others more than a tenth of their rate or p99; 2 when something does not run.
set -eu

parts=${BENCH:-accept batch job script json memory isolation}
seconds=${SECONDS_EACH:-5}
rounds=${ROUNDS:-2}
pace=${RATE:-2000}
manners=${MANNERS:-refuse hang 500 429 drip slow}
CC=${CC:-cc}
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
lib=$root/build/release
dir=$root/build/bench
peer=$dir/peers
tidegate=$root/build/release/tidegate
mkdir -p "$dir"
rows=$dir/rows
: >"$rows"
failed=0
started=""

# --- processes ---

quit() {
    for one in $started; do finish "$one"; done
}
trap quit EXIT
trap 'exit 2' INT TERM

die() {
    echo "bench: $*" >&2
    exit 2
}

# begin PID: it is ended with us.
begin() { started="$started $1"; }

finish() { # PID
    kill -TERM "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
    started=$(echo "$started" | tr ' ' '\n' | grep -vx "$1" | tr '\n' ' ' || true)
}

# until SECONDS COMMAND…: tries it every 50 ms.
until_true() {
    tries=$(($1 * 20))
    shift
    while ! "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.05
    done
}

# The one-shot child that reads the configuration may still be there when the relay is ready.
one_child() { [ "$(wc -w <"/proc/$1/task/$1/children")" -eq 1 ]; }
not_empty() { [ -s "$1" ]; }

# serve NAME PROGRAM: starts a program that prints its port; sets pid and port.
serve() {
    : >"$dir/$1.port"
    "$2" >"$dir/$1.port" 2>"$dir/$1.log" &
    pid=$!
    begin $pid
    until_true 5 not_empty "$dir/$1.port" || die "$1 does not start: $(cat "$dir/$1.log")"
    port=$(cat "$dir/$1.port")
}

# relay NAME DESTINATIONS: starts a relay with one worker; sets relay, worker, relay_port and folder.
relay() {
    rm -rf "$dir/$1"
    mkdir -p "$dir/$1"
    {
        echo 'return { listen = { "127.0.0.1:0" }, admin = "off", workers = 1, egress = { allow_private = true },'
        echo "  spool = { path = \"$dir/$1/spool\" }, scripts = { \"$here/scripts\" },"
        echo '  sources = { { name = "bench", write_key = "bench" } },'
        echo '  destinations = {'
        echo "$2"
        echo '  } }'
    } >"$dir/$1/tidegate.lua"
    "$tidegate" run -c "$dir/$1/tidegate.lua" 2>"$dir/$1/log" &
    relay=$!
    begin $relay
    until_true 10 grep -qs 'msg=ready' "$dir/$1/log" || die "the relay does not start: $(cat "$dir/$1/log")"
    relay_port=$(sed -n 's/.*msg=listening addr=127.0.0.1:\([0-9]*\).*/\1/p' "$dir/$1/log")
    until_true 5 one_child $relay || die "the relay has not one worker"
    worker=$(tr -d ' ' <"/proc/$relay/task/$relay/children")
    folder=$dir/$1
}

end_relay() {
    finish "$relay"
    rm -rf "$folder/spool"
}

# --- figures ---

calc() { awk "BEGIN { printf \"%.${2:-2}f\", $1 }"; }
most() { awk "BEGIN { print (($1 > $2) ? $1 : $2) }" </dev/null; }
least() { awk "BEGIN { print (($1 < $2) ? $1 : $2) }" </dev/null; }
holds() { awk "BEGIN { exit !($1) }"; }
verdict() { if holds "$1"; then echo met; else echo missed; fi; }
# row WHAT MEASURED BESIDE RATIO TARGET VERDICT
row() { printf '%s|%s|%s|%s|%s|%s\n' "$@" >>"$rows"; }
part() { case " $parts " in *" $1 "*) echo "measuring: $1" >&2 ;; *) return 1 ;; esac; }

# load ARGUMENTS…: sets events, rate, cpu_us, p99_ms … from what the generator prints.
load() {
    delivered=0
    out=$(timeout $((4 * seconds + 120)) "$dir/load" -s "$seconds" "$@") || die "the load generator failed"
    eval "$out"
    [ "$refused" -eq 0 ] && [ "$broken" -eq 0 ] || echo "  of $events events $refused were refused, $broken connections broke" >&2
}

# best NAME: keeps the least CPU and the highest rate of NAME over the rounds.
best() {
    eval "cpu=\${cpu_$1:-} top=\${rate_$1:-}"
    if [ -z "$cpu" ] || holds "$cpu_us < $cpu"; then eval "cpu_$1=$cpu_us"; fi
    if [ -z "$top" ] || holds "$rate > $top"; then eval "rate_$1=$rate"; fi
    printf '  %-22s %9s events/s  %7s us/event  p99 %s ms\n' "$1" "$rate" "$cpu_us" "$p99_ms" >&2
}

figures() { eval "echo \"\$rate_$1/s, \$cpu_$1 us\""; }

# --- parts ---

# accept NAME BATCH CONNECTIONS: the relay and the bare server, by turns.
accept() {
    for _ in $(seq "$rounds"); do
        relay "accept-$1" ""
        load -a "$relay_port" -b "$2" -c "$3" -p "$worker"
        best "relay_$1"
        end_relay
        serve evhttp "$dir/bare_evhttp"
        load -a "$port" -b "$2" -c "$3" -p "$pid"
        best "evhttp_$1"
        finish "$pid"
    done
}

part_accept() {
    accept single 1 512
    row "durable accept, single, 512 connections: rate" "$(figures relay_single)" "bare evhttp $(figures evhttp_single)" \
        "$(calc "$rate_relay_single / $rate_evhttp_single")" ">= 1 of the rate" "$(verdict "$rate_relay_single >= $rate_evhttp_single")"
    row "... CPU" "$cpu_relay_single us/event" "bare evhttp $cpu_evhttp_single" "$(calc "$cpu_relay_single / $cpu_evhttp_single")" \
        "<= 0.65 of the CPU" "$(verdict "$cpu_relay_single <= 0.65 * $cpu_evhttp_single")"
}

part_batch() {
    accept hundred 100 64
    row "durable accept, batches of 100, 64 connections" "$(figures relay_hundred)" "bare evhttp $(figures evhttp_hundred)" \
        "$(calc "$cpu_relay_hundred / $cpu_evhttp_hundred")" ">= 300000/s, <= 2.5 us" \
        "$(verdict "$rate_relay_hundred >= 300000 && $cpu_relay_hundred <= 2.5")"
}

# nginx_peer MANNER: sets pid and port.
nginx_peer() {
    rm -rf "$dir/nginx"
    mkdir -p "$dir/nginx"
    triplet=$(basename "$(dirname "$(find "$peer/usr/lib" -name 'libluajit-5.1.so.2' | head -n 1)")")
    port=$("$dir/load" -f)
    sed -e "s#@DIR@#$dir/nginx#g" -e "s#@MODULES@#$peer/usr/lib/nginx/modules#g" -e "s#@HERE@#$here#g" -e "s#@TRIPLET@#$triplet#g" \
        -e "s#@LUA@#$peer/usr/share/lua/5.1#g" -e "s#@MANNER@#$1#g" -e "s#@SINK@#$sink#g" -e "s#@PORT@#$port#g" \
        "$here/nginx/nginx.conf" >"$dir/nginx/nginx.conf"
    LD_LIBRARY_PATH="$peer/usr/lib/$triplet" "$peer/usr/sbin/nginx" -p "$dir/nginx" -c "$dir/nginx/nginx.conf" 2>"$dir/nginx/log" &
    pid=$!
    begin $pid
    until_true 5 "$dir/load" -t "$port" || die "nginx does not start: $(cat "$dir/nginx/log" "$dir/nginx/error.log")"
}

job_relay() { # NAME BATCH CONNECTIONS
    relay job "order = { settings = { url = \"http://127.0.0.1:$sink/ok/order\" } },"
    load -a "$relay_port" -b "$2" -c "$3" -p "$worker" -k "$sink"
    [ "$delivered" -ge "$events" ] || die "of $events events only $delivered were delivered; see $folder/log"
    best "job_$1"
    end_relay
}

job_nginx() { # MANNER
    nginx_peer "$1"
    load -a "$port" -c 64 -p "$pid" -k "$sink"
    best "nginx_$1"
    finish "$pid"
}

part_job() {
    serve sink "$dir/sink"
    sink=$port sink_pid=$pid
    for _ in $(seq "$rounds"); do
        job_relay single 1 64
        job_relay hundred 100 16
        if [ -x "$peer/usr/sbin/nginx" ]; then
            job_nginx each
            job_nginx queue
        fi
    done
    finish "$sink_pid"
    if [ -x "$peer/usr/sbin/nginx" ]; then
        row "whole job, single" "$(figures job_single)" "nginx + Lua, cosocket $(figures nginx_each)" \
            "$(calc "$cpu_job_single / $cpu_nginx_each")" "<= 0.45 of the CPU" "$(verdict "$cpu_job_single <= 0.45 * $cpu_nginx_each")"
        row "..." "" "nginx + Lua, memory queue $(figures nginx_queue)" "$(calc "$cpu_job_single / $cpu_nginx_queue")" \
            "<= 0.6 of the CPU" "$(verdict "$cpu_job_single <= 0.6 * $cpu_nginx_queue")"
    else
        row "whole job, single" "$(figures job_single)" "nginx + Lua is missing: tests/bench/peers.sh" "" "<= 0.45 and 0.6" "not compared"
    fi
    row "..." "" "Fluent Bit: not in Debian, not measured" "" "<= 0.33 of the CPU" "not compared"
    row "whole job, batches of 100" "$(figures job_hundred)" "" "" "<= 8 us" "$(verdict "$cpu_job_hundred <= 8")"
}

# The shipped scripts, each with the event of its sample fixture.
part_script() {
    "$dir/script_bench" >"$dir/script.out" || die "the scripts do not run"
    sed 's/^/  /' "$dir/script.out" >&2
    while read -r name bytes us _; do
        [ "$name" = script ] || row "script $name, an event of $bytes bytes" "$us us/event" "" "" "" ""
    done <"$dir/script.out"
}

part_json() {
    "$dir/json_bench" >"$dir/json.out"
    sed 's/^/  /' "$dir/json.out" >&2
    ours=$(awk '/^as the host/ { print $(NF-1) }' "$dir/json.out")
    theirs=$(awk '/^decode \+ map/ { print $(NF-1) }' "$dir/json.out")
    row "JSON: decode, map, encode, as the host does it" "$ours us" "lua-cjson $theirs us" "$(calc "$ours / $theirs")" "<= 0.5" \
        "$(verdict "$ours <= 0.5 * $theirs")"
}

mib() { awk '/^VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/$worker/status"; }

# five ORIGIN_OF_THE_FIRST: the five partners, told to forward to the stand-in.
five() {
    echo "impact = { settings = { endpoint = \"$1/ok/impact\", accountSid = \"sid\", apiKey = \"key\", campaignId = \"1\" } },"
    echo "everflow = { settings = { endpoint = \"http://127.0.0.1:$sink/ok/everflow\", apiKey = \"key\", mode = \"forward\","
    echo '  eventMapping = { ["Order Completed"] = "1" } } },'
    for name in extole refersion emarsys; do
        echo "$name = { settings = { endpoint = \"http://127.0.0.1:$sink/ok/$name\", apiKey = \"a.b\" } },"
    done
}

part_memory() {
    serve sink "$dir/sink"
    sink=$port sink_pid=$pid
    relay memory "$(five "http://127.0.0.1:$sink")"
    idle=$(mib)
    load -a "$relay_port" -c 64 -r "$pace" -p "$worker"
    busy=$(mib)
    end_relay
    relay memory "$(five "http://127.0.0.1:$("$dir/load" -f)")"
    load -a "$relay_port" -c 64 -r "$pace" -p "$worker"
    away=$(mib)
    load -a "$relay_port" -c 64 -r "$pace" -p "$worker"
    later=$(mib)
    end_relay
    finish "$sink_pid"
    row "resident memory, five destinations" "idle $idle, busy $busy MiB" "" "" "<= 16 MiB" "$(verdict "$busy <= 16")"
    row "... one partner away" "$away, then $later MiB" "" "$(calc "$later / $away")" "flat" "$(verdict "$later <= $away * 1.1")"
}

# lane NAME MANNER: a destination of the isolation part.
lane() {
    case $2 in
    refuse) url="http://127.0.0.1:$closed/refuse/$1" burn=0 ;;
    slow) url="http://127.0.0.1:$sink/ok/$1" burn=$turns ;;
    *) url="http://127.0.0.1:$sink/$2/$1" burn=0 ;;
    esac
    echo "$1 = { script = \"order\", settings = { url = \"$url\", burn = $burn } },"
}

# neighbours MANNER: two good destinations beside one of that manner (none: without it), for `span` seconds; sets their rate
# and p99 in ms.
neighbours() {
    relay isolation "$(lane one ok) $(lane two ok) $([ "$1" = none ] || lane bad "$1")"
    curl -s -X POST "http://127.0.0.1:$sink/reset"
    load -a "$relay_port" -c 64 -r "$pace" -p "$worker" -s "$span"
    # At once, for the last batch is not full and waits for its time: that is not the neighbour's fault. It counts for the rate.
    p99=$(curl -s "http://127.0.0.1:$sink/stats" | awk '$1 != "bad" && $4 > p { p = $4 } END { printf "%.1f", p }')
    sleep 1
    arrived=$(curl -s "http://127.0.0.1:$sink/stats" | awk -v s="$span" '$1 != "bad" { n += $2 } END { printf "%d", n / 2 / s }')
    end_relay
    printf '  %-8s %8s/s each   p99 %8s ms   %s us/event\n' "$1" "$arrived" "$p99" "$cpu_us" >&2
}

# Turns of the idle loop that take 50 ms here.
calibrate() {
    cat >"$dir/burn.lua" <<'LUA'
jit.off()
local n, best = 1000000, math.huge
for _ = 1, 5 do
  local begin = os.clock()
  for _ = 1, n do end
  best = math.min(best, os.clock() - begin)
end
print(math.floor(0.05 / best * n))
LUA
    turns=$(luajit -joff "$dir/burn.lua")
}

part_isolation() {
    serve sink "$dir/sink"
    sink=$port sink_pid=$pid
    closed=$("$dir/load" -f)
    calibrate
    for manner in $manners; do
        rate_without=0 rate_with=0 p99_without=1e9 p99_with=1e9 span=$seconds
        [ "$manner" != slow ] || span=$((4 * seconds)) # it has its turn several times
        n=0 kept=missed
        # A machine that was busy with something else is not the partner's fault: what is missed is measured again, both sides.
        while [ "$n" -lt "$rounds" ] || { [ "$kept" = missed ] && [ "$n" -lt $((4 * rounds)) ]; }; do
            n=$((n + 1))
            neighbours none
            rate_without=$(most "$rate_without" "$arrived") p99_without=$(least "$p99_without" "$p99")
            neighbours "$manner"
            rate_with=$(most "$rate_with" "$arrived") p99_with=$(least "$p99_with" "$p99")
            rate_kept=$(calc "$rate_with / $rate_without") p99_kept=$(calc "$p99_without / $p99_with")
            kept=$(verdict "$rate_kept >= 0.9 && $p99_kept >= 0.9")
        done
        shown="$rate_with/s, p99 $p99_with ms" beside="$rate_without/s, p99 $p99_without ms"
        [ "$kept" = met ] || failed=1
        row "two neighbours of a partner that is: $manner" "$shown" "without it $beside, $n rounds" "$rate_kept, $p99_kept" ">= 0.9 of rate and p99" "$kept"
    done
    finish "$sink_pid"
}

# --- the whole ---

compile() { # NAME LIBRARIES…
    name=$1
    shift
    "$CC" -O2 -g -std=gnu11 -D_GNU_SOURCE -I"$root/src" $(pkg-config --cflags luajit libevent) -o "$dir/$name" "$here/$name.c" "$@"
}

build() {
    [ -x "$tidegate" ] || die "no $tidegate: make first, or use make bench"
    compile load
    compile sink
    compile bare_evhttp $(pkg-config --libs libevent)
    compile script_bench "$lib/libingest.a" "$lib/libconfig.a" "$lib/libscript.a" "$lib/libspool.a" "$lib/libbase.a" \
        $(pkg-config --libs luajit openssl zlib) -lm
    compile json_bench -rdynamic "$lib/libscript.a" "$lib/libspool.a" "$lib/libbase.a" $(pkg-config --libs luajit openssl zlib) -lm
}

about() {
    echo "machine  $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, Linux $(uname -r), spool on $(stat -f -c %T "$dir")"
    echo "         load average before: $(cut -d ' ' -f 1-3 /proc/loadavg); what else runs here is in these figures: trust the ratios, they are of one run"
    echo "build    $("$tidegate" version), $("$CC" --version | head -n 1), $(git -C "$root" describe --always --dirty 2>/dev/null || echo 'no git')"
    echo "command  BENCH=\"$parts\" SECONDS_EACH=$seconds ROUNDS=$rounds RATE=$pace sh tests/bench/run.sh"
    echo "event    a Segment track event of 1.1 KB; CPU is of the server process alone, all threads; one worker"
}

table() {
    { echo "what|measured|beside|ratio|target|verdict"; cat "$rows"; } | awk -F '|' '
        { for (i = 1; i <= NF; i++) { cell[NR, i] = $i; if (length($i) > width[i]) width[i] = length($i) } }
        END { for (r = 1; r <= NR; r++) { for (i = 1; i <= 6; i++) printf "%-" width[i] "s%s", cell[r, i], i < 6 ? "  " : "\n" } }'
}

build
head=$(about)
for p in accept batch job script json memory isolation; do
    if part "$p"; then "part_$p"; fi
done
echo "$head"
echo
table
[ "$failed" -eq 0 ] || echo "bench: a misbehaving partner cost its neighbours more than a tenth of their rate or p99" >&2
exit "$failed"
