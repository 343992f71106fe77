#!/bin/bash
# The kernel of one node, with its command line as arguments.
#
# A node that resets itself runs this anew in the same process, with every file of the kernel before it still open: a tap that is
# held can't be opened again, and the node would come back without a network.
for file in /proc/self/fd/*; do
    number=${file##*/}
    # The shell reads this script from 255, and closes that by itself.
    if [ "$number" -gt 2 ] && [ "$number" != 255 ]; then
        exec {number}>&-
    fi
done
exec -a "$0" linux.uml "$@"
