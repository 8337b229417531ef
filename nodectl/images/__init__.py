"""Where a VM's disks come from and go to: transfers, the node's cache of images, blank partitions, saved disks."""
