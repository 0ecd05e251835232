# To be read in by the scripts of the guest: say TEXT puts one line on the console,
# and on the first serial line where that is another one.
say() {
  local consoles
  read -r consoles < /sys/class/tty/console/active
  echo "gantry-guest: $*" > /dev/console
  [ "${consoles##* }" = ttyS0 ] || echo "gantry-guest: $*" > /dev/ttyS0
} 2> /dev/null
