#!/bin/sh
# dracut runs this before each shell. If the policy doesn't allow one, the program stops
# the machine; should that fail, this never returns, and no shell starts.
/usr/lib/composefs/composefs-setup-root --shell || while :; do sleep 60; done
