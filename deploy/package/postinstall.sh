#!/bin/sh
# After the files are in place. Debian: configure [OLD VERSION]; RPM: number of versions installed.
set -e
case "$1" in
configure | 1 | 2) ;;
*) exit 0 ;;
esac
if ! getent passwd sluice >/dev/null; then
	if command -v systemd-sysusers >/dev/null; then
		systemd-sysusers sluice.conf
	else
		useradd --system --user-group --home-dir /var/lib/sluice --no-create-home --shell /usr/sbin/nologin \
			--comment "sluice order book server" sluice
	fi
fi
if [ ! -e /var/lib/sluice ]; then
	install -d -m 0700 -o sluice -g sluice /var/lib/sluice
fi
chgrp sluice /etc/sluice
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl try-restart sluice.service # a new version; a service that was not started stays so
fi
if [ "$1" = 1 ] || { [ "$1" = configure ] && [ -z "$2" ]; }; then
	echo "sluice is installed and not started: systemctl enable --now sluice"
fi
