#!/bin/sh
# After the files were removed. Journal and snapshots are never removed with the package.
set -e
case "$1" in
purge)
	rm -rf /etc/sluice
	if [ -d /var/lib/sluice ] && ! rmdir /var/lib/sluice 2>/dev/null; then
		echo "sluice: the data in /var/lib/sluice and the user sluice, its owner, are kept; to remove both:" >&2
		echo "    rm -r /var/lib/sluice && userdel sluice" >&2
	fi
	;;
esac
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
