#!/bin/sh
# composefs-init: /init of an initramfs with systemd. systemd-stub puts what lies beside
# a UKI on the EFI system partition into directories below /.extra: credentials and
# extensions, which nobody has signed. systemd would take them in before anything is
# verified, and a credential can bring units. Files there are the UKI's own, and stay.
rm -rf /.extra/*/ || exit 1
exec /usr/lib/systemd/systemd "$@"
