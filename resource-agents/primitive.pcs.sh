#!/bin/sh -e
# The same as primitive.crm, for pcs. DRBD must be up at boot on both nodes: systemctl enable drbd.service
pcs resource create db ocf:standin:innodb config=r0 \
    op start interval=0 timeout=300s \
    op stop interval=0 timeout=360s \
    op monitor interval=10s timeout=20s \
    op monitor interval=60s timeout=30s OCF_CHECK_LEVEL=20 \
    meta migration-threshold=3 failure-timeout=120s resource-stickiness=1000
