#!/bin/bash
# The first process of a lab's namespaces (process, network, mount). It holds them: when it ends, the kernel kills all
# that runs in them and takes the bridges, taps and mounts away.
#
# It lives as long as someone holds the other end of its standard input, or for ever after having read the word "keep".
set -euo pipefail

# Held as long as this process lives, so that others see whether this lab is alive.
exec 9> "$1/alive"
flock --nonblock 9

mount -t proc proc /proc

echo 0 > /proc/sys/net/ipv4/ip_forward
# A client that honours a gratuitous ARP and asks again soon, as one does that waits for a failover.
echo 1 > /proc/sys/net/ipv4/conf/default/arp_accept
# An unplugged cable ends in its tap: without this the host would answer there for the addresses of its bridges.
echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore
# A User-Mode-Linux kernel drops what is larger than a frame, and TCP then crawls at 200 KB/s: nobody may send such. The
# nodes' own devices have the same setting.
whole='gso_max_size 1500 gso_max_segs 1'
ip -batch - << END
link set lo up
link add clients type bridge stp_state 0 forward_delay 0 mcast_snooping 0
link add replication type bridge stp_state 0 forward_delay 0 mcast_snooping 0
address add 10.77.0.254/24 dev clients
link set clients $whole up
link set replication up
END
for node in 1 2; do
    ip tuntap add "clients$node" mode tap
    ip tuntap add "replication$node" mode tap
    ip tuntap add "service$node" mode tap
    ip -batch - << END
link set clients$node master clients $whole up
link set replication$node master replication $whole up
address add 10.77.10$node.254/24 dev service$node
link set service$node $whole up
END
done

echo ready

while read -r word; do
    if [ "$word" = keep ]; then
        exec tail -f /dev/null < /dev/null > /dev/null
    fi
done
