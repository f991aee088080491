#!/bin/sh
# Before the files are removed. Debian: remove or upgrade; RPM: number of versions that remain.
set -e
case "$1" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl disable --now sluice.service
	fi
	;;
esac
