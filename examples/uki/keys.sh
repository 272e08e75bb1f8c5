#!/bin/bash
# keys.sh DIRECTORY
#
# Makes the keys of Secure Boot that a machine's owner has: PK decides who may
# change KEK, KEK who may change db, and db whose programs are started. For each
# there is NAME.key, which stays in a safe, NAME.crt to verify with, and NAME.cer,
# the same in the form that firmware reads. Keys that are there stay.
set -euo pipefail
(($# == 1)) || { echo "usage: keys.sh DIRECTORY" >&2; exit 2; }
umask 077
mkdir -p "$1"
cd "$1"
for name in PK KEK db; do
	[[ -e $name.key ]] && continue
	# RSA with 2048 bits is what every firmware must know.
	openssl req -new -x509 -newkey rsa:2048 -sha256 -nodes -days 3650 -batch \
		-subj "/CN=${OWNER:-example} $name" -keyout "$name.key" -out "$name.crt" 2>/dev/null
	openssl x509 -in "$name.crt" -outform DER -out "$name.cer"
	chmod 0644 "$name.crt" "$name.cer"
done
