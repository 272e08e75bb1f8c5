# shellcheck shell=bash disable=SC2034 # its variables are for those that source it
# Sourced by the other scripts: messages, and where files are kept.
#
# Downloads and whatever is slow to make are kept outside the tree, so that fresh
# clones, the demo, the tests and the benchmarks share them.

# As in the Makefile, for scripts that are run directly.
export HOME=${HOME:-~}
[[ :$PATH: == *:/usr/sbin:* ]] || export PATH=$PATH:/usr/sbin:/sbin

# Root directories get Debian's modes, whatever the umask of the user.
umask 022

cache=${COMPOSEFS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/composefs-go}

# The directory of the scripts, whatever the working directory becomes.
scripts=$(cd "${BASH_SOURCE[0]%/*}" && pwd)

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

if [[ -t 2 ]]; then
	bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'
else
	bold='' dim='' red='' green='' plain=''
fi

note() { printf '%s%s%s\n' "$dim" "$*" "$plain" >&2; }
die() {
	printf '%s%s: %s%s\n' "$red" "${0##*/}" "$*" "$plain" >&2
	exit 1
}

# as_root runs a command as root, by sudo where we are not.
as_root() {
	if ((EUID == 0)); then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "root is needed for: $* (become root, or install sudo)"
	fi
}

# need PROGRAM... stops with a remedy if a program is missing.
need() {
	local program
	for program; do
		command -v "$program" >/dev/null || die "the program $program is not installed; run: make setup"
	done
}

# lock NAME waits until no other script holds the same lock. It is held until the script
# ends.
lock() {
	local held
	mkdir -p "$cache/lock"
	exec {held}>"$cache/lock/$1"
	flock "$held"
}
