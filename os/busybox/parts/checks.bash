# What all scripts of this definition share: how they speak and fail, and the checks of their input.
# Nothing here touches a disk.

say() { printf 'busybox: %s\n' "$*"; }
fail() { printf 'busybox: %s\n' "$*" >&2; exit 1; }

require_programs() { # NAME...
  local program
  for program in "$@"; do
    command -v "$program" > /dev/null ||
      fail "cannot find the program $program on this node: install e2fsprogs, busybox-static and python3"
  done
}

is_ipv4() {
  local part parts
  [[ $1 =~ ^[0-9]{1,3}(\.[0-9]{1,3}){3}$ ]] || return 1
  IFS=. read -r -a parts <<< "$1"
  for part in "${parts[@]}"; do
    [ "$((10#$part))" -le 255 ] || return 1
  done
}

is_ipv6() {
  local groups
  [[ $1 =~ ^[0-9A-Fa-f:]{2,39}$ && $1 == *:*:* && $1 != *:::* ]] || return 1
  [[ $1 != *::*::* ]] || return 1
  [[ $1 =~ ^(:{2}|[0-9A-Fa-f]{1,4}:) && $1 =~ (:{2}|:[0-9A-Fa-f]{1,4})$ ]] || return 1
  [[ ! $1 =~ [0-9A-Fa-f]{5} ]] || return 1
  groups=${1//[!:]/}
  if [[ $1 == *::* ]]; then [ "${#groups}" -le 7 ]; else [ "${#groups}" -eq 7 ]; fi
}

is_address() { is_ipv4 "$1" || is_ipv6 "$1"; }

has_control_characters() { # TEXT; line ends and tabs are none
  local text=${1//[$'\n\t']/}
  [[ $text == *[[:cntrl:]]* ]]
}

check_text() { # PARAMETER, VALUE, MOST BYTES
  local LC_ALL=C
  if [ "${#2}" -gt "$3" ]; then
    echo "parameter $1: ${#2} bytes are too long; give at most $3"
  fi
  if has_control_characters "$2"; then
    echo "parameter $1: it has control characters; give plain text"
  fi
}

check_nameservers() { # VALUE
  local address addresses
  if [[ $1 == *[$'\n\t ']* || $1 == *, || $1 == ,* ]]; then
    echo "parameter nameserver: '$1' is not a list of IP addresses separated by commas, without blanks"
    return
  fi
  IFS=, read -r -a addresses <<< "$1"
  [ "${#addresses[@]}" -le 3 ] || echo "parameter nameserver: ${#addresses[@]} addresses; give at most 3"
  for address in "${addresses[@]}"; do
    is_address "$address" ||
      echo "parameter nameserver: '$address' is not an IP address; give for example nameserver=192.0.2.53"
  done
}

parameter_faults() { # one line for each fault
  case "${OSP_SHUTDOWN:-poweroff}" in
    poweroff | ignore) ;;
    *) echo "parameter shutdown: '$OSP_SHUTDOWN' is not known; give poweroff or ignore" ;;
  esac
  [ -z "${OSP_NAMESERVER:-}" ] || check_nameservers "$OSP_NAMESERVER"
  check_text motd "${OSP_MOTD:-}" 4096
  check_text run "${OSP_RUN:-}" 16384
}

check_parameters() {
  local faults
  faults=$(parameter_faults)
  [ -z "$faults" ] || fail "$faults"
}

check_variant() {
  [ -z "${OS_VARIANT:-}" ] || fail "there is no variant '$OS_VARIANT': this OS has none"
}

check_instance_name() {
  local name=${INSTANCE_NAME:-}
  [ -n "$name" ] || fail "INSTANCE_NAME is not set: this script is to be run by the cluster"
  [[ ${#name} -le 253 && $name =~ ^[A-Za-z0-9]([A-Za-z0-9-]{0,62}\.?)*$ ]] ||
    fail "INSTANCE_NAME '$name' is not a host name: use letters, digits, '-' and '.'"
}
