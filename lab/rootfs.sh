# What a lab is made from, and is too dear to make each time: a root file system with the engine, two
# container images, and a data-root of Docker in which these are loaded. Sourced by lab/up.
#
#   root-SUITE-KEY/             mmdebstrap's root file system, never written to again (labs put an overlay on it)
#   work-SUITE-KEY.tar          the container image "work", as `docker import` takes it
#   engine-SUITE-STORE-KEY/     a data-root with busybox and work loaded; copied into each new lab,
#                               which takes a second where importing takes ten
#
# KEY is a hash over everything that decides the content, so a changed package list makes a new one.
# Each is made under a temporary name and renamed when complete: what has its name is whole.
# All of it can be deleted at any time when no lab is up.
# shellcheck shell=bash

# Raise it when the way below changes what comes out, though the package lists stay.
recipe_version=1

engine_packages=(
  binutils busybox-static ca-certificates checkpointctl containerd curl docker-cli docker.io gdb iproute2 iptables procps python3
  python3-pytest redis-tools ripgrep runc sqlite3 util-linux zstd
  # what binaries built on the host are linked against
  libarchive13t64 libcurl4t64 libdw1t64 libelf1t64 libhyperscan5 libisal2 liblz4-1 libprotobuf32t64 libsqlite3-0
  libssl3t64 libzstd1
)
criu_packages=(criu python3-pycriu) # always forky's: make_root says why
work_packages=(gcc gdb libc6-dev nginx-light procps python3 redis-server sqlite3)

cache_key() { printf '%s\n' "$recipe_version" "$@" | sha256sum | cut --characters=1-12; }

root_path() { echo "$cache_dir/root-$1-$(cache_key "$1" "${engine_packages[@]}" "${criu_packages[@]}")"; }
work_path() { echo "$cache_dir/work-$1-$(cache_key "$1" "${work_packages[@]}").tar"; }
engine_path() {
  local suite=$1 store=$2
  echo "$cache_dir/engine-$suite-$store-$(cache_key "$(basename "$(root_path "$suite")")" "$(basename "$(work_path "$suite")")" "$store")"
}

# --- where packages come from ------------------------------------------------------------------------

# Sets "archive" and "keyring". The host's own apt configuration says where its Debian archive is; any suite of
# Debian lies there.
find_archive() {
  local codename uri release
  if [[ -n ${CPREWIND_LAB_MIRROR:-} ]]; then
    archive=$CPREWIND_LAB_MIRROR
  else
    # shellcheck source=/dev/null
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    # shellcheck disable=SC2016 # apt expands these
    while IFS='|' read -r uri release; do
      [[ $release == "$codename" && $uri == */debian/ ]] || continue
      archive=$uri
      break
    done < <(apt-get indextargets --no-release-info --format '$(REPO_URI)|$(RELEASE)' 'Created-By: Packages')
    [[ -n ${archive:-} ]] || die "found no Debian archive for '$codename' in this host's apt sources:" \
      "set CPREWIND_LAB_MIRROR to the address of one"
  fi
  keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  [[ -f $keyring ]] || die "the key of the Debian archive is missing, expected $keyring: apt-get install debian-archive-keyring"
}

source_line() { echo "deb [signed-by=$keyring] $archive $1 main"; }

# mmdebstrap in a mount namespace of its own, so that not even a killed one leaves a mount. How the host
# reaches its archive (proxy, retries, whether dates are checked) holds for the lab's apt as well.
bootstrap() {
  local suite=$1 target=$2 option options=()
  shift 2
  while IFS= read -r option; do options+=("--aptopt=$option"); done < <(
    apt-config dump Acquire | grep -E '^Acquire::(http|https|Retries|Check-Date|Check-Valid-Until)\b' || true)
  unshare --mount --propagation private \
    mmdebstrap --variant=minbase "${options[@]}" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' "$@" "$suite" "$target" "$(source_line "$suite")"
}

# Runs "$3…" to make the cache entry $1, unless it is there, with a temporary path as its last argument.
# One maker at a time per entry; remains of a maker that was killed are cleared by the next.
make_cached() {
  local entry=$1 what=$2 temporary log
  shift 2
  [[ ! -e $entry ]] || return 0
  (
    take_lock "$cache_dir/.lock.$(basename "$entry")" 8
    [[ ! -e $entry ]] || exit 0
    temporary=$cache_dir/.new.$(basename "$entry") log=$cache_dir/.log.$(basename "$entry")
    rm -rf --one-file-system "$temporary"
    say "making $what (once; log: $log)"
    local started=$SECONDS
    if ! "$@" "$temporary" >"$log" 2>&1; then
      say "could not make $what; the end of $log:"
      tail --lines=20 "$log" >&2
      rm -rf --one-file-system "$temporary"
      exit 1
    fi
    mv "$temporary" "$entry"
    rm -f "$log"
    say "made $what in $((SECONDS - started)) s"
  )
}

# --- the three makers --------------------------------------------------------------------------------

# trixie's own CRIU cannot dump inet sockets on Linux 6.16 and later; forky's can, and installs there.
# A low pin keeps everything else at trixie.
make_root() {
  local suite=$1 target=$2 packages
  find_archive
  packages=$(IFS=,; echo "${engine_packages[*]}")
  if [[ $suite == forky ]]; then
    bootstrap "$suite" "$target" --include="$packages,$(IFS=,; echo "${criu_packages[*]}")"
  else
    bootstrap "$suite" "$target" --include="$packages" \
      --setup-hook="printf 'Package: *\nPin: release n=forky\nPin-Priority: 100\n' >\"\$1/etc/apt/preferences.d/forky\"" \
      --setup-hook="echo '$(source_line forky)' >\"\$1/etc/apt/sources.list.d/forky.list\"" \
      --customize-hook="chroot \"\$1\" apt-get install --yes --no-install-recommends --target-release forky ${criu_packages[*]}"
  fi
}

make_work() {
  local suite=$1 target=$2
  find_archive
  bootstrap "$suite" "$target" --format=tar --include="$(IFS=,; echo "${work_packages[*]}")"
}

# The static busybox under all its names, and the few files a C library looks for.
make_busybox_tar() {
  local rootfs=$1 directory=$2 applet
  mkdir -p "$directory"/{bin,etc,root,tmp,proc,sys,dev,var}
  cp "$rootfs/bin/busybox" "$directory/bin/busybox"
  for applet in $("$directory/bin/busybox" --list); do
    [[ $applet == busybox ]] || ln -s busybox "$directory/bin/$applet"
  done
  echo 'root:x:0:0:root:/root:/bin/sh' >"$directory/etc/passwd"
  echo 'root:x:0:' >"$directory/etc/group"
  chmod 1777 "$directory/tmp"
  tar --create --directory "$directory" --owner=0 --group=0 --file "$directory.tar" .
}

# Loads the images by a throwaway lab and keeps its data-root.
make_engine() {
  local suite=$1 target=$2
  take_lock "$run_base/.lock.$LAB_NAME" 7
  remove_lab "$LAB_NAME"
  trap 'remove_lab "$LAB_NAME"' EXIT
  start_lab "$LAB_NAME"
  wait_lab_ready "$LAB_NAME" $! && load_images "$suite" || return 1
  stop_lab "$LAB_NAME" TERM
  mv "$data_base/$LAB_NAME/docker" "$target"
}

load_images() {
  local suite=$1 scratch=$data_base/$LAB_NAME/busybox
  make_busybox_tar "$LAB_ROOTFS" "$scratch" &&
    in_lab "$LAB_NAME" docker import --change 'CMD ["sh"]' - busybox:latest <"$scratch.tar" &&
    in_lab "$LAB_NAME" docker import --change 'CMD ["bash"]' - work:latest <"$(work_path "$suite")"
}
