# shellcheck shell=bash
# scripts/demo sources this after lib.sh. It shows a line with its time for each step, and writes each step's output to
# a log file. A step is a process group (set -m), so that an interruption ends exactly its processes. A step writes
# events to descriptor 7: `part NAME` and `heading TEXT` add lines, and `detail TEXT` is shown while the step runs.

declare -A face_pid=() face_started=() face_ended=()
face_logs=
face_step=
face_line=
face_detail=
face_line_started=0
face_verbose=
face_terminal=
face_stop=
face_width=80
face_patience=50 # tenths of a second for a step to end when it is asked to

# face_begin DIRECTORY [--verbose]: prepare for steps. Their logs are in the directory, which is emptied.
face_begin() {
  face_logs=$1
  [ "${2:-}" != --verbose ] || face_verbose=yes
  [ ! -t 1 ] || [ "${TERM:-dumb}" = dumb ] || [ -n "$face_verbose" ] || face_terminal=yes
  face_fit
  rm -rf "$face_logs"
  mkdir -p "$face_logs"
  mkfifo "$face_logs/events"
  exec 7<>"$face_logs/events"
  rm "$face_logs/events"
  # These traps only set a variable, because the timeout of bash's `read` would cut off a longer trap.
  trap 'face_width=' WINCH
  trap 'face_stop=130' INT
  trap 'face_stop=143' TERM
  trap 'face_stop=129' HUP
  trap 'face_exit $?' EXIT
}

# face_exit STATUS: end all steps that still run, and report an interruption in one line.
face_exit() {
  local status=$1 at=${face_line:-${face_step:-its end}}
  trap '' INT TERM HUP
  if [ -n "$face_stop" ]; then
    face_close "$SECONDS" interrupted
    face_stop_all
    printf 'error: interrupted at %s; go on: scripts/demo, end: scripts/demo down\n' "$at" >&2
    exit "$face_stop"
  fi
  face_close
  face_stop_all
  [ "$status" = 0 ] || [ -z "$face_step" ] || printf 'error: %s failed. %s\n' "$at" "$(advice "$at" /dev/null)" >&2
}

face_fit() {
  local size
  size=$(stty size 2>/dev/null <&1) || size="24 80"
  face_width=${size#* }
  [ "$face_width" -ge 20 ] || face_width=80
}

# launch NAME COMMAND…: start a step in the background; `follow` shows it and waits for it.
launch() {
  local name=$1
  shift
  if [ -n "$face_verbose" ]; then face_aloud "$name" "$@"; return; fi
  [ -z "$face_stop" ] || exit
  face_started[$name]=$SECONDS
  set -m
  face_run "$name" "$@" </dev/null >"$face_logs/$name.log" 2>&1 8>&- &
  face_pid[$name]=$!
  set +m
}

# Run a step's command with errexit, and report its end by an event, so that no polling is needed.
face_run() {
  local name=$1 status
  shift
  set +e
  (set -e; "$@")
  status=$?
  echo "done $name" >&7
  exit "$status"
}

# follow NAME TITLE: show a launched step until it ends. When it fails, report that and exit with its status.
follow() {
  [ -z "$face_verbose" ] || return 0
  local name=$1 event status=0 began=${face_started[$1]}
  face_step=$2
  face_open "$2" "$began"
  while kill -0 "${face_pid[$name]}" 2>/dev/null && [ -z "${face_ended[$name]:-}" ]; do
    if IFS= read -r -t 1 -u 7 event; then face_event "$event"; fi
    [ -z "$face_stop" ] || exit
    face_draw
  done
  wait "${face_pid[$name]}" || status=$?
  # Read the last events of the step.
  while IFS= read -r -t 0 -u 7 && IFS= read -r -u 7 event; do
    face_event "$event"
    face_draw
  done
  unset "face_pid[$name]"
  [ "$status" = 0 ] || face_failed "$name" "$status"
  face_close "${face_ended[$name]:-$SECONDS}"
  face_step=
}

# step NAME TITLE COMMAND…: run a step and show it until it ends.
step() {
  local name=$1 title=$2
  shift 2
  launch "$name" "$@"
  follow "$name" "$title"
}

# With --verbose: run a step in the foreground with its output on the terminal.
face_aloud() {
  face_step=$1
  shift
  (trap - EXIT INT TERM HUP; "$@") 7>/dev/null 8>&-
  face_step=
}

face_event() {
  case $1 in
    'done '*) face_ended[${1#* }]=$SECONDS ;;
    'heading '*) face_close; face_heading "${1#* }" ;;
    'part '*) face_close; face_open "${1#* }" ;;
    'detail '*) face_detail=${1#* } ;;
  esac
}

face_heading() {
  [ -n "$face_width" ] || face_fit
  if [ -n "$face_terminal" ]; then printf '\033[1m%s\033[0m\n' "${1:0:face_width-1}"; else printf '%s\n' "$1"; fi
}

# face_open TITLE [SINCE]: begin a line for a step or a part of it, whose time counts from SINCE.
face_open() {
  face_line=$1
  face_line_started=${2:-$SECONDS}
  face_detail=
  [ -n "$face_terminal" ] || printf '  %-44s' "$1"
  face_draw
}

face_draw() {
  local text
  [ -n "$face_terminal" ] && [ -n "$face_line" ] || return 0
  [ -n "$face_width" ] || face_fit
  printf -v text '  %-44s %4d s  %s' "$face_line" "$((SECONDS - face_line_started))" "$face_detail"
  # Leave room for the ^C that the terminal shows at an interruption. A line beyond the edge could not be overwritten.
  printf '\r\033[K%s' "${text:0:face_width-3}"
}

# face_close [WHEN] [WORD]: end the open line, if there is one, with its time.
face_close() {
  [ -n "$face_line" ] || return 0
  local seconds=$((${1:-$SECONDS} - face_line_started))
  if [ -n "$face_terminal" ]; then
    printf '\r\033[K  %-44s %4d s%s\n' "$face_line" "$seconds" "${2:+  $2}"
  else
    printf ' %4d s%s\n' "$seconds" "${2:+  $2}"
  fi
  face_line=
}

# face_failed NAME STATUS: print the step's own report of its failure (the file NAME.failure), its results so far
# (`evidence NAME`), the end of its log, and what to do (`advice NAME LOG`). Then exit with its status.
face_failed() {
  local log=$face_logs/$1.log title=$face_step found said last=20
  face_close "$SECONDS" failed
  face_stop_all
  face_step=
  {
    echo
    if [ -s "$face_logs/$1.failure" ]; then face_readable <"$face_logs/$1.failure" | head -n 8; echo; fi
    found=$(evidence "$1" 2>/dev/null) || true
    # An error message of the project's own commands already says what to do.
    said=$(face_readable <"$log" | grep -v $'^==> ' || true)
    if [[ $said = 'error: '* && $said != *$'\n'* ]]; then
      echo "error: $title: ${said#error: }"
      exit "$2"
    fi
    if [ -n "$found" ]; then printf '%s\n\n' "$found"; last=8; fi
    echo "The last lines of ${log#"$root"/}:"
    { face_readable <"$log" | tail -n "$last" | sed 's/^/  | /'; } || true
    echo
    printf 'error: %s failed. %s\n' "$title" "$(advice "$1" "$log")"
  } >&2
  exit "$2"
}

# Print the input without colours, progress bars and control characters. Long lines, such as JSON, are cut.
face_readable() {
  sed -e 's/\x1b\[[0-9;?]*[A-Za-z]//g' -e 's/.*\r\(.\)/\1/' -e '/^ *$/d' | tr -d '\000-\010\013-\037\177' | cut -c 1-400
}

# End all launched steps by their process groups: by SIGINT first, then by SIGTERM and SIGKILL.
face_stop_all() {
  local name signal tries
  for name in "${!face_pid[@]}"; do
    for signal in INT TERM KILL; do
      face_signal "$signal" "${face_pid[$name]}" || break
      for ((tries = 0; tries < face_patience; tries++)); do
        face_signal 0 "${face_pid[$name]}" || break 2
        sleep 0.1 # between two looks; being a command of its own it also lets bash notice that a child has ended
      done
    done
    wait "${face_pid[$name]}" 2>/dev/null || true
    unset "face_pid[$name]"
  done
}

# face_signal SIGNAL PROCESS_GROUP: send a signal, by sudo when the processes belong to root.
face_signal() {
  kill "-$1" -- "-$2" 2>/dev/null || { [ "$(id -u)" != 0 ] && sudo -n kill "-$1" -- "-$2" 2>/dev/null; }
}
