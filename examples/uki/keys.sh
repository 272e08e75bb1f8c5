#!/bin/bash
# keys.sh DIRECTORY
#
# Makes the Secure Boot keys of a machine's owner: PK authorizes changes to KEK, KEK
# authorizes changes to db, and the firmware starts programs signed by a key in db. For
# each there is NAME.key, to be kept in a safe, the certificate NAME.crt, and NAME.cer,
# the same certificate in the format that firmware reads. Existing keys stay.
set -euo pipefail
(($# == 1)) || { echo "usage: keys.sh DIRECTORY" >&2; exit 2; }
umask 077
mkdir -p "$1"
cd "$1"
for name in PK KEK db; do
	[[ -e $name.key ]] && continue
	# Every firmware must support RSA with 2048 bits.
	openssl req -new -x509 -newkey rsa:2048 -sha256 -nodes -days 3650 -batch \
		-subj "/CN=${OWNER:-example} $name" -keyout "$name.key" -out "$name.crt" 2>/dev/null
	openssl x509 -in "$name.crt" -outform DER -out "$name.cer"
	chmod 0644 "$name.crt" "$name.cer"
done
