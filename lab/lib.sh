# What every lab script needs to agree on: where a lab keeps its things, how a lab is recognised as
# alive, and how it is taken down. Sourced, never run.
#
# A lab is a process tree below one init in namespaces of its own. Its life, as an observer sees it:
#
#   state directory absent            no such lab
#   state directory, no live init     remains of a lab that died; the next up or down clears them
#   live init, no "ready" file        coming up
#   live init and "ready"             up
#
# Nothing of a lab is mounted in the host's mount namespace, so killing the init (SIGKILL to pid 1 of
# a pid namespace ends every process in it) takes processes, mounts and namespaces along. What is left
# to remove is what has a name on the host: two directories and one cgroup per hierarchy.
# shellcheck shell=bash

lab_source=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
checkout=$(dirname "$lab_source")
cache_dir=${CPREWIND_LAB_CACHE:-/var/cache/cprewind-lab}
data_base=/var/lib/cprewind-lab # also visible inside, at the same path: layers and volumes lie here
run_base=/run/cprewind-lab      # also visible inside, at the same path: docker.sock lies here
default_lab=forky-v2

say() { printf 'lab: %s\n' "$*" >&2; }

die() {
  say "$@"
  exit 1
}

usage_error() {
  say "$@"
  exit 2
}

require_root() {
  ((EUID == 0)) || die "this needs root (it makes namespaces and mounts), you are uid $EUID: run it with sudo"
}

require_commands() {
  local command
  for command in "$@"; do
    command -v "$command" >/dev/null ||
      die "the command '$command' is missing: run tools/install-prerequisites"
  done
}

check_lab_name() {
  [[ $1 =~ ^[a-z0-9][a-z0-9_.-]{0,39}$ ]] ||
    usage_error "'$1' is no lab name: expected up to 40 of a-z 0-9 _ . -, the first a letter or digit"
}

# --- locks -------------------------------------------------------------------------------------------

# Takes the lock named by file $1 and keeps it in descriptor $2 until the process ends. Whatever is
# started to outlive us must close that descriptor.
take_lock() {
  local file=$1 fd=$2
  mkdir -p "$(dirname "$file")"
  eval "exec $fd>\"\$file\""
  if ! flock --nonblock "$fd"; then
    say "waiting for another lab command that holds $file"
    flock "$fd"
  fi
}

# --- is it alive? ------------------------------------------------------------------------------------

# A pid alone may have been reused; pid + start time + boot names one process for ever.
process_start_time() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  stat=${stat##*) } # the command name before may hold blanks and parentheses
  read -r -a fields <<<"$stat"
  # A zombie still has its start time but runs no more.
  [[ ${fields[0]} != Z && ${fields[0]} != X ]] || return 1
  printf '%s\n' "${fields[19]}"
}

# Prints the host's pid of the lab's init, or fails if it does not run.
lab_pid() {
  local pid started boot
  read -r pid started boot 2>/dev/null <"$run_base/$1/init" || return 1
  [[ $boot == "$(</proc/sys/kernel/random/boot_id)" ]] || return 1
  [[ $started == "$(process_start_time "$pid")" ]] || return 1
  printf '%s\n' "$pid"
}

known_labs() {
  local path
  for path in "$run_base"/*/ "$data_base"/*/; do
    [[ -d $path ]] && basename "$path"
  done | sort -u
}

# --- cgroups -----------------------------------------------------------------------------------------

# A lab has a cgroup of its own in every hierarchy of the host, v1 and v2: CRIU looks at all of them,
# and what a container leaves there must be removable together.
lab_cgroups() {
  findmnt --raw --noheadings --types cgroup,cgroup2 --output TARGET,FSTYPE |
    while read -r target type; do printf '%s %s\n' "$type" "$target/cprewind-lab.$1"; done
}

make_lab_cgroups() {
  local type cgroup file
  while read -r type cgroup; do
    mkdir -p "$cgroup"
    [[ $type == cgroup ]] || continue
    for file in cpuset.cpus cpuset.mems; do # v1: nobody can enter a cpuset without cpus
      [[ ! -e $cgroup/$file || -n $(<"$cgroup/$file") ]] || cat "$cgroup/../$file" >"$cgroup/$file"
    done
  done < <(lab_cgroups "$1")
}

# Puts process $2 into the lab's cgroups. On v2 its place is the leaf "init" once that exists, since
# a cgroup that hands controllers on must hold no process.
join_lab_cgroups() {
  local type cgroup
  while read -r type cgroup; do
    [[ $type != cgroup2 || ! -d $cgroup/init ]] || cgroup+=/init
    echo "$2" >"$cgroup/cgroup.procs"
  done < <(lab_cgroups "$1")
}

# Ends whatever is still in the lab's cgroups (a start interrupted before its init was recorded, the outer half
# of a lab/enter) and removes them. Repeated until done, since a process may just be joining one after the other.
remove_lab_cgroups() {
  local tries type cgroup left
  for ((tries = 0; tries < 100; tries++)); do
    left=''
    while read -r type cgroup; do
      [[ -d $cgroup ]] || continue
      [[ ! -e $cgroup/cgroup.kill ]] || echo 1 >"$cgroup/cgroup.kill"
      find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || left=$cgroup
    done < <(lab_cgroups "$1")
    [[ -n $left ]] || return 0
    sleep 0.05
  done
  die "the cgroup $left is still in use after 5 s by process $(tr '\n' ' ' <"$left/cgroup.procs"):" \
    "end it, then run lab/down --name $1 again"
}

# --- up and down -------------------------------------------------------------------------------------

# Starts the init of lab $1; the LAB_* variables that lab/init documents are exported by the caller.
start_lab() {
  local name=$1
  mkdir -p "$run_base/$name" "$data_base/$name"
  chmod 0700 "$data_base/$name"
  make_lab_cgroups "$name"
  (
    exec 7>&- 8>&- 9>&- # the locks are ours, not the lab's
    join_lab_cgroups "$name" "$BASHPID"
    exec setsid unshare --cgroup "$lab_source/init" namespaces
  ) </dev/null >"$data_base/$name/init.log" 2>&1 &
}

# Waits until the engine of lab $1 answers; says why it does not and fails otherwise.
wait_lab_ready() {
  local name=$1 seconds=${CPREWIND_LAB_TIMEOUT:-60} starter=$2 deadline
  deadline=$((SECONDS + seconds))
  until [[ -e $run_base/$name/ready ]]; do
    if [[ ! -e /proc/$starter ]]; then
      lab_failed "$name" "the lab's init ended before the engine answered"
      return 1
    elif [[ -e $run_base/$name/engine-exit ]]; then
      lab_failed "$name" "dockerd ended with status $(<"$run_base/$name/engine-exit") before it answered"
      return 1
    elif ((SECONDS >= deadline)); then
      lab_failed "$name" "dockerd did not answer within $seconds s (CPREWIND_LAB_TIMEOUT changes that)"
      return 1
    fi
    sleep 0.05
  done
}

lab_failed() {
  local name=$1 reason=$2 log
  say "lab $name did not come up: $reason"
  for log in "$data_base/$name/init.log" "$data_base/$name/dockerd.log"; do
    [[ -s $log ]] || continue
    say "the end of $(basename "$log"):"
    tail --lines=25 "$log" >&2
  done
}

# Ends the init of lab $1 by signal $2 and waits until it is gone.
stop_lab() {
  local name=$1 signal=$2 pid started tries
  pid=$(lab_pid "$name") || return 0
  started=$(process_start_time "$pid") || return 0
  kill -s "$signal" "$pid" 2>/dev/null || true
  for ((tries = 0; tries < 600; tries++)); do
    [[ $(process_start_time "$pid") == "$started" ]] || return 0
    sleep 0.05
  done
  die "the init of lab $name (pid $pid) still runs 30 s after SIG$signal: look at /proc/$pid/status and" \
    "/proc/$pid/stack, then run lab/down --name $name again"
}

# Removes everything of lab $1, alive or dead. Safe to repeat.
remove_lab() {
  local name=$1
  stop_lab "$name" KILL
  remove_lab_cgroups "$name"
  rm -rf --one-file-system "${data_base:?}/$name" "${run_base:?}/$name"
  rmdir --ignore-fail-on-non-empty "$data_base" 2>/dev/null || true
}

# --- in the lab --------------------------------------------------------------------------------------

# Runs a command inside lab $1 in place of this process: all its namespaces, its cgroups, and the
# caller's directory if the lab has it. The engine is the lab's, whatever DOCKER_HOST said outside.
exec_in_lab() {
  local name=$1 pid
  shift
  pid=$(lab_pid "$name") || die "lab $name is not up: run lab/up first (lab/README.md says how)"
  join_lab_cgroups "$name" "$BASHPID"
  # shellcheck disable=SC2016 # the inner shell expands these
  exec nsenter --target "$pid" --mount --net --ipc --uts --pid --cgroup -- \
    /usr/bin/env -u DOCKER_HOST -u TMPDIR HOME=/root \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /bin/sh -c 'cd "$1" 2>/dev/null || cd /; shift; exec "$@"' sh "$PWD" "$@"
}

in_lab() { (exec_in_lab "$@"); }
