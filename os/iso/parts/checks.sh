# What the scripts of this definition share.

say() { printf 'iso: %s\n' "$*"; }
fail() { printf 'iso: %s\n' "$*" >&2; exit 1; }

check_name() {
  case "${INSTANCE_NAME:-}" in
    "") fail "INSTANCE_NAME is not set: this script is to be run by the cluster" ;;
    *[!A-Za-z0-9.-]*) fail "INSTANCE_NAME '$INSTANCE_NAME' is not a host name" ;;
  esac
}

check_disk() { # WHAT IT IS CALLED, PATH
  [ -n "$2" ] || fail "$1 is not set: the instance has no disk, or the disk no path on this node"
  [ -f "$2" ] || [ -b "$2" ] || fail "the disk $2 ($1) is neither a file nor a block device"
  [ -r "$2" ] || fail "the disk $2 ($1) cannot be read by the user $(id -un)"
}

disk_bytes() { # PATH
  if [ -b "$1" ]; then blockdev --getsize64 "$1"; else stat -L -c %s "$1"; fi
}

# Zeros where boot loaders, partition tables and labels are: the first and the last MiB.
clear_ends() { # PATH
  bytes=$(disk_bytes "$1")
  [ "$bytes" -ge 1048576 ] || fail "the disk $1 has $bytes bytes, which is too small for any system"
  for at in 0 $((bytes - 1048576)); do
    dd if=/dev/zero of="$1" bs=1048576 count=1 seek="$at" oflag=seek_bytes conv=notrunc,fsync 2> /dev/null ||
      fail "the disk $1 cannot be written by the user $(id -un)"
  done
}
