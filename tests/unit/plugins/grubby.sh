#!/bin/sh
# What grubby says and does on Amazon Linux 2023; constructed from grubby(8) and AWS's documentation, never seen on a host.
# The one boot entry is the file beside it.
entry="$(dirname "$0")/entry"
case "$1" in
  --info=DEFAULT)
    printf 'index=0\nkernel="/boot/vmlinuz-6.1.0"\nargs="%s"\nroot="UUID=1"\n' "$(cat "$entry")" ;;
  --update-kernel=ALL)
    shift
    words=" $(cat "$entry") "
    for option; do
      case "$option" in
        --remove-args=*) for word in ${option#*=}; do words=$(echo "$words" | sed "s| $word | |"); done ;;
        --args=*) words="$words ${option#*=} " ;;
      esac
    done
    echo $words > "$entry" ;;
  *) echo "unknown option $1" >&2; exit 1 ;;
esac
