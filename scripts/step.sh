# shellcheck shell=bash
# Sourced by scripts that a person watches: one line and one log file per step, and if a
# step fails, the end of its log.
#
#	steps=3
#	step image "an image of the tree" mkimage build ...
#
# Commands that are named by a path are shown as they could be typed; functions of the
# script are not shown.

: "${bold=}" "${dim=}" "${red=}" "${green=}" "${plain=}" "${steps:?}"
logs=${logs:-build/log}
step=0
output='' # the standard output of the last step

# shown COMMAND... prints a command that can be pasted. A long one has a line break before
# each option.
shown() {
	local text word
	text=$(printf '%q ' "$@")
	if ((${#text} > 90)); then
		text=''
		for word; do
			[[ $word == --* && -n $text ]] && text+=$'\\\n        '
			text+=$(printf '%q ' "$word")
		done
	fi
	printf '    %s$ %s%s\n' "$dim" "${text% }" "$plain"
}

# step NAME TITLE COMMAND... runs the command as the next step.
step() {
	local name=$1 title=$2 log begin pid status=0
	shift 2
	step=$((step + 1))
	mkdir -p "$logs"
	log=$logs/$step-$name.log
	printf '%s[%d/%d] %s%s\n' "$bold" "$step" "$steps" "$title" "$plain"
	case $1 in
	as_root) shown "${@:2}" ;;
	*/*) shown "$@" ;;
	esac

	begin=$SECONDS
	: >"$log"
	"$@" >"$log.out" 2>"$log" &
	pid=$!
	# If the script is interrupted, its virtual machine must end too.
	# shellcheck disable=SC2064 # this pid
	trap "end_all $pid" EXIT
	watch "$pid" "$begin" "$log"
	wait "$pid" || status=$?
	trap - EXIT
	[[ -t 1 ]] && printf '\r\e[K'
	output=$(<"$log.out")
	rm -f "$log.out"
	[[ -n $output ]] && printf '%s\n' "$output" >>"$log"
	if ((status)); then
		printf '    %sfailed%s (status %d) after %d s; its log %s ends with:\n' \
			"$red" "$plain" "$status" $((SECONDS - begin)) "$log"
		tail -n 20 "$log" | sed -E 's/\r|\x1b\[[0-9;?=]*[A-Za-z]//g' | cut -c 1-400 | sed 's/^/    | /'
		exit 1
	fi
	printf '    %sdone%s in %d s\n' "$green" "$plain" $((SECONDS - begin))
}

# end_all PID ends a process and everything that it started, because background processes
# of a script don't get the terminal's interrupt.
end_all() {
	local child
	for child in $(pgrep -P "$1"); do
		end_all "$child"
	done
	kill "$1" 2>/dev/null || true
}

# watch PID BEGIN LOG shows the time and the last line of the log until the process ends,
# if standard output is a terminal.
watch() {
	local pid=$1 begin=$2 log=$3 last width
	[[ -t 1 ]] || return 0
	width=$(($(tput cols 2>/dev/null || echo 80) - 12))
	while kill -0 "$pid" 2>/dev/null; do
		last=$(tail -c 400 "$log" | sed -E 's/\r|\x1b\[[0-9;?=]*[A-Za-z]//g' | tail -n 1)
		printf '\r\e[K    %3d s %s%.*s%s' $((SECONDS - begin)) "$dim" "$width" "$last" "$plain"
		sleep 0.5
	done
}

# say prints a result below a step.
say() { printf '    %s\n' "$*"; }
