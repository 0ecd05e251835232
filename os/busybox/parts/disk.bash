# The instance's disk: a block device or a raw file that holds one ext4 file system, never mounted here.

readonly smallest_disk=$((16 * 1024 * 1024))

disk_bytes() { # PATH
  if [ -b "$1" ]; then blockdev --getsize64 "$1"; else stat --dereference --format %s "$1"; fi
}

check_disk() { # WHAT IT IS CALLED, PATH
  [ -n "$2" ] || fail "$1 is not set: the disk has no path on this node, and this OS cannot be installed on such a disk"
  [ -e "$2" ] || fail "the disk $2 ($1) does not exist on this node"
  [ -b "$2" ] || [ -f "$2" ] || fail "the disk $2 ($1) is neither a file nor a block device"
}

check_writable() { # PATH
  [ -w "$1" ] || fail "the disk $1 cannot be written by the user $(id -un): check its owner and rights"
}

check_readable() { # PATH
  [ -r "$1" ] || fail "the disk $1 cannot be read by the user $(id -un): check its owner and rights"
}

# Bytes that the ext4 file system on the disk takes; nothing where there is none.
file_system_bytes() { # PATH
  # It fails where there is none, and after its answer where the disk is cut off.
  { LC_ALL=C dumpe2fs -h "$1" 2> /dev/null || true; } |
    awk -F: '/^Block count:/ { count = $2 } /^Block size:/ { size = $2 } END { if (count && size) printf "%.0f\n", count * size }'
}

# Replays the journal of a guest that was cut off: an edit before that would be undone by it.
settle_file_system() { # PATH
  local status=0 output
  output=$(e2fsck -p "$1" 2>&1) || status=$?
  [ "$status" -le 1 ] || fail "the file system on $1 is damaged, run e2fsck on it: $output"
}

# Replaces one file of the image. debugfs reports no failure in its exit status, so the result is read back.
replace_file() { # DISK, PATH IN THE IMAGE, FILE WITH THE NEW CONTENT
  local output
  output=$(debugfs -w -f - "$1" 2>&1 << COMMANDS
rm $2
write $3 $2
set_inode_field $2 mode 0100644
set_inode_field $2 uid 0
set_inode_field $2 gid 0
COMMANDS
  )
  cmp --quiet "$3" <(debugfs -R "cat $2" "$1" 2> /dev/null) ||
    fail "cannot write $2 into the image on $1: $output"
}
