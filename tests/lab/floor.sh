#!/bin/sh
# The fastest takeover that a person could type: the bare commands, nothing checked, nothing undone. It is what a takeover
# is measured against.
#
# usage: floor.sh LOCAL_REPLICATION_ADDRESS PEER_REPLICATION_ADDRESS VIP PREFIX_LENGTH
set -eu

drbdsetup disconnect "ipv4:$1:7788" "ipv4:$2:7788" --force
drbdsetup primary 0
mount /dev/drbd0 /var/lib/mysql

socket=/run/mysqld/mysqld.sock
rm -f "$socket"
setsid mariadbd --user=mysql > /dev/null 2>&1 < /dev/null &
until [ -S "$socket" ]; do
    sleep 0.02
done

ip address add "$3/$4" dev eth0
arping -q -U -c 3 -I eth0 "$3" > /dev/null 2>&1 < /dev/null &
