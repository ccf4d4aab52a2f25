#!/bin/sh
# A stand-in for grubby on Amazon Linux 2023, made from grubby(8) and AWS's documentation. It was never compared with a
# real host. The only boot entry is the file `entry` in the same directory.
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
