# To be read in by the scripts of the guest: say TEXT puts one line on the console,
# and on the first serial line where that is another one.
say() {
  local consoles start=
  read -r consoles < /sys/class/tty/console/active
  # Once there is a shell on the console, its prompt is likely to be on the current line.
  [ ! -e /run/up ] || start='
'
  echo "${start}gantry-guest: $*" > /dev/console
  [ "${consoles##* }" = ttyS0 ] || echo "${start}gantry-guest: $*" > /dev/ttyS0
} 2> /dev/null
