#!/bin/sh -e
# Fencing for the samples beside this one: a device per node, which never runs on the node that it switches off. The device is
# an example: take the agent of your hardware (pcs stonith list).
pcs stonith create fence-node1 fence_ipmilan ip=192.0.2.1 username=fence password_script=/etc/standin/ipmi-password \
    lanplus=true pcmk_host_list=node1 pcmk_delay_base=5s op monitor interval=60s timeout=60s
pcs stonith create fence-node2 fence_ipmilan ip=192.0.2.2 username=fence password_script=/etc/standin/ipmi-password \
    lanplus=true pcmk_host_list=node2 op monitor interval=60s timeout=60s
pcs constraint location fence-node1 avoids node1
pcs constraint location fence-node2 avoids node2
pcs property set stonith-enabled=true
