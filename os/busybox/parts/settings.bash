# What the guest is told: its name, its addresses and its parameters, as small files below /etc.
# A line of /etc/gantry/nics: MAC, "static" or "dhcp", ADDRESS/PREFIX, gateway, name server; "-" where there is none.

nic() { # INDEX, FIELD; its value, empty if it is not set
  local name="NIC_$1_$2"
  printf '%s' "${!name:-}"
}

prefix_of() { # SUBNET or nothing, what else
  if [[ $1 =~ /([0-9]{1,3})$ ]]; then echo "${BASH_REMATCH[1]}"; else echo "$2"; fi
}

# QEMU's own network: the gateway is .2 and the name server .3 of the guest's network.
user_nic() { # INDEX
  local address gateway network
  address=$(nic "$1" IP)
  address=${address:-10.0.2.15}
  gateway=$(nic "$1" NETWORK_GATEWAY)
  network=${address%.*}
  echo "static $address/$(prefix_of "$(nic "$1" NETWORK_SUBNET)" 24) ${gateway:-$network.2} $network.3"
}

addressed_nic() { # INDEX; one whose address is given
  local address gateway prefix
  address=$(nic "$1" IP)
  if [[ $address == *:* ]]; then
    gateway=$(nic "$1" NETWORK_GATEWAY6)
    prefix=$(prefix_of "$(nic "$1" NETWORK_SUBNET6)" 64)
  else
    gateway=$(nic "$1" NETWORK_GATEWAY)
    prefix=$(prefix_of "$(nic "$1" NETWORK_SUBNET)" 24)
  fi
  # The node answers for every address on a routed link, so the link itself is the way out.
  if [ "$(nic "$1" MODE)" = routed ] && [ -z "$gateway" ]; then
    gateway=link
    [[ $address == *:* ]] && prefix=128 || prefix=32
  fi
  echo "static $address/$prefix ${gateway:--} -"
}

check_nic() { # INDEX
  local field value
  [[ $(nic "$1" MAC) =~ ^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$ ]] ||
    fail "NIC_$1_MAC '$(nic "$1" MAC)' is not a MAC address"
  for field in IP NETWORK_GATEWAY NETWORK_GATEWAY6; do
    value=$(nic "$1" "$field")
    [ -z "$value" ] || is_address "$value" || fail "NIC_$1_$field '$value' is not an IP address"
  done
}

nic_lines() {
  local index count=${NIC_COUNT:-0} settings
  [[ $count =~ ^[0-9]+$ ]] || fail "NIC_COUNT '$count' is not a number"
  for ((index = 0; index < count; index++)); do
    check_nic "$index"
    if [ "$(nic "$index" MODE)" = user ]; then
      settings=$(user_nic "$index")
    elif [ -n "$(nic "$index" IP)" ]; then
      settings=$(addressed_nic "$index")
    else
      settings="dhcp - - -"
    fi
    echo "$(nic "$index" MAC | tr A-F a-f) $settings"
  done
}

write_name() { printf '%s\n' "$INSTANCE_NAME" > "$1"; } # FILE
write_nics() { nic_lines > "$1"; } # FILE

write_parameters() { # DIRECTORY /etc of the image
  [ -z "${OSP_MOTD:-}" ] || printf '%s\n' "$OSP_MOTD" > "$1/motd"
  [ -z "${OSP_RUN:-}" ] || printf '%s\n' "$OSP_RUN" > "$1/gantry/run"
  [ -z "${OSP_NAMESERVER:-}" ] || tr , '\n' <<< "$OSP_NAMESERVER" > "$1/gantry/nameservers"
  printf '%s\n' "${OSP_SHUTDOWN:-poweroff}" > "$1/gantry/shutdown"
}
