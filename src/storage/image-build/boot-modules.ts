/** Parts of GRUB that are in the loader itself: it has no folder of others on the disk. */
export const bootModules = [
  'part_gpt part_msdos ext2 fat search search_fs_uuid search_label configfile normal linux',
  'serial terminal echo test keystatus ls cat reboot halt help boot minicmd sleep gzio regexp loadenv',
].flatMap((line) => line.split(' '))

/** Drivers of the kernel for whatever a hypervisor may show the disk as, the file system, and the drive with the seed. */
export const initramfsModules = [
  'virtio_pci virtio_mmio virtio_blk virtio_scsi ahci ata_piix nvme sd_mod usb_storage uas xhci_pci',
  'ext4 crc32c_generic sr_mod isofs vfat nls_cp437 nls_ascii',
].flatMap((line) => line.split(' '))
