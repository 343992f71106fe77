#!/bin/sh -e
# The same as promotable.crm, for pcs. Nothing may start at boot, not even DRBD: systemctl disable drbd.service
pcs resource create db ocf:standin:innodb config=r0 \
    op start interval=0 timeout=60s \
    op stop interval=0 timeout=420s \
    op promote interval=0 timeout=300s \
    op demote interval=0 timeout=360s \
    op monitor interval=10s role=Promoted timeout=20s on-fail=demote \
    op monitor interval=11s role=Unpromoted timeout=20s \
    op monitor interval=60s role=Promoted timeout=30s on-fail=demote OCF_CHECK_LEVEL=20 \
    meta migration-threshold=3 failure-timeout=120s \
    promotable promoted-max=1 clone-max=2 clone-node-max=1 notify=false interleave=true resource-stickiness=1000
