/** Why our command line differs from libvirt's: docs/qemu-command-line.md is made from this table. */

export interface Explanation {
  /** What libvirt has and we have, in a few words. */
  readonly what: string
  /** The differences, as `compareCommandLines` tells them. */
  readonly difference: RegExp
  readonly why: string
}

export const explanations: readonly Explanation[] = [
  {
    what: 'The monitor: a second one, and other sockets',
    difference: /^-mon|^-chardev socket: more|^-chardev socket path: 'ROOT.*monitor\.sock'/u,
    why: 'The first monitor is an open socket that nobody else can reach, for the daemon that starts the guest; the second, in a folder of the guest, is for later daemons. Neither waits.',
  },
  {
    what: 'Master key',
    difference: /^-object secret: not there/u,
    why: 'libvirt encrypts the secrets on its command line with a key in a file. We have no secrets there at all: they are given through the monitor.',
  },
  {
    what: 'Main memory as an object',
    difference:
      /^-object memory-backend-ram: not there|^-machine memory-backend: '(?:pc|mach-virt)\.ram' is not there/u,
    why: 'QEMU makes the very same object by itself, and of the same name. We name one only when it is more: a file, huge pages, cells.',
  },
  {
    what: '`-overcommit mem-lock=off`',
    difference: /^-overcommit: not there/u,
    why: 'It is the default.',
  },
  {
    what: '`-no-shutdown`, `-watchdog-action`, `-boot strict=on`',
    difference:
      /^-no-shutdown: not there|^-watchdog-action: not there|^-action: more|^-boot: not there|^-boot strict/u,
    why: '`-action` says what happens at power-off, reset, crash and watchdog in one place, and is changed while the guest runs. `strict` only matters where an order of boot devices is given, and is there then.',
  },
  {
    what: '`-msg timestamp=on`',
    difference: /^-msg: not there/u,
    why: 'What QEMU prints is shown as the reason of a failure, where a time in front of it is noise; events and the journal have the time.',
  },
  {
    what: '`-audiodev none`, `audiodev` of VNC',
    difference: /^-audiodev (?:none|spice): not there|^-vnc audiodev: 'audio1' is not there/u,
    why: 'libvirt makes a sound system for every guest and connects it to VNC. We make one where a sound device wants it.',
  },
  {
    what: 'Topology of processors that is not given',
    difference: /^-smp (?:threads|sockets|cores|dies|maxcpus)/u,
    why: 'Without a topology QEMU gives each processor a socket, which is what libvirt spells out. The most there can be is said always, so that it is the same in every version.',
  },
  {
    what: '`-cpu` where the definition names none',
    difference: /^-cpu: not there/u,
    why: 'QEMU takes the default of the machine type, which is the one that libvirt spells out.',
  },
  {
    what: 'Addresses of PCI devices that have none in the definition',
    difference:
      /^-device \S+ (?:addr|bus): '(?:\d+\.\d+|pcie?\.\d+)' is '|^-device pcie-root-port|^-device \S+ multifunction|^-device \S+ (?:addr|bus): '(?:\d+\.\d+|pcie?\.\d+)' more/u,
    why: 'Each is given once and kept. What cannot be unplugged sits on the root of the bus, others behind a port of their own, so that a guest has fewer ports to look at while it boots. Addresses that a definition has are kept as they are.',
  },
  {
    what: 'A USB controller nobody asked for',
    difference: /^-device (?:qemu-xhci|piix3-usb-uhci|pcie-pci-bridge): not there/u,
    why: 'libvirt adds one to every machine, and a bridge for old PCI cards. We add one where a device needs it, which spares a guest its driver.',
  },
  {
    what: 'Ports of SATA drives that have none in the definition',
    difference: /^-device ide-(?:hd|cd) bus: 'ide\.\d' is 'ide\.\d'/u,
    why: 'libvirt counts from the letter of the target, also where drives of another bus have the letters before it. Ours take the next port that is free, and keep it.',
  },
  {
    what: 'Places of parallel ports',
    difference: /^-device isa-parallel index: '\d' more/u,
    why: 'Said always, so that the place in the definition is the one that the guest finds.',
  },
  {
    what: 'Ports of USB devices that have none in the definition',
    difference: /^-device usb-\S+ (?:port|bus): '[\w.]+' is not there/u,
    why: 'QEMU takes the next port that is free, on the only bus.',
  },
  {
    what: 'Ports of the virtio serial bus',
    difference: /^-device virt(?:serialport|console) (?:nr|bus):/u,
    why: 'QEMU takes the next port that is free where the definition names none; the bus is always said.',
  },
  {
    what: '`-blockdev file` as a node of its own',
    difference:
      /^-blockdev (?:file|host_device): not there|^-blockdev \S+ file[.:]|^-blockdev \S+ (?:discard|cache\.\S+): '\w+' more/u,
    why: 'The file of an image, and how it is cached, is inside the node of the image: one name less, and what belongs together is added and removed together.',
  },
  {
    what: '`-display none`',
    difference: /^-display none: more/u,
    why: 'It is what QEMU does with VNC anyway. Said always, so that a guest without a screen never opens a window.',
  },
  {
    what: 'Terminals (`pty`)',
    difference: /^-chardev pty: not there/u,
    why: 'A terminal that nobody reads fills up and stops the guest. Behind each is a socket instead, from which visord serves any number of viewers and keeps what was printed; the terminal is made where somebody asks for one.',
  },
  {
    what: 'Logs of serial ports and consoles',
    difference: /^-chardev \S+ (?:logfile|logappend): '.*' more/u,
    why: 'What a guest prints is kept, also while no daemon runs.',
  },
  {
    what: 'The host side of network cards',
    difference: /^-netdev tap: not there|^-netdev user: more/u,
    why: 'When it prints command lines libvirt says a tap for whatever kind is asked for; a started guest has the kind of the definition, as ours says.',
  },
  {
    what: 'Place in the boot order of network cards',
    difference: /^-device \S+ bootindex: '\d+' more/u,
    why: 'When it prints command lines libvirt leaves it out; a started guest has it, as ours says. Where a definition names kinds of devices or nothing, ours says the order of the devices too.',
  },
  {
    what: '`backing` of images that have none',
    difference: /^-blockdev \S+ backing: 'null' more/u,
    why: 'The header of an image that the guest can write to never decides which files are opened.',
  },
  {
    what: '`append` of files behind ports',
    difference: /^-chardev file append: 'on' more/u,
    why: 'Said always: what a port printed before is kept, as it is where libvirt writes with virtlogd.',
  },
  {
    what: 'virtio-crypto',
    difference: /^-object cryptodev-\S+: more|^-device virtio-crypto-pci: more/u,
    why: 'Libvirt 9.0.0, which is compared with, reads over it; later ones know it.',
  },
  {
    what: 'The socket of a TPM',
    difference: /^-tpmdev emulator chardev: 'chrtpm' is|^-chardev null: not there/u,
    why: 'When it prints command lines libvirt names a device that leads nowhere instead of the socket of swtpm; ours is the socket, in the folder of the module.',
  },
  {
    what: '`-no-hpet`',
    difference: /^-no-hpet: not there|^-machine hpet: 'off' more/u,
    why: 'QEMU 7.0 and later have it as a property of the machine, and 9.0 nothing else.',
  },
  {
    what: 'Features for Windows that are off',
    difference: /^-cpu hv-\S+: 'off' more/u,
    why: 'What a definition switches off is said to be off, so that no processor model can bring it along.',
  },
  {
    what: 'Pages that are not merged',
    difference: /^-machine mem-merge: 'off' is not there|^-object memory-backend-\S+ merge: 'off' more/u,
    why: 'Said of each piece of memory, also of modules that are plugged in later, instead of once for the machine.',
  },
  {
    what: 'Threads that provide memory at the start',
    difference: /^-object thread-context: not there|prealloc-context: '\S+' is not there/u,
    why: 'libvirt runs them on the nodes that the memory comes from. Ours run anywhere: the nodes are bound with the memory itself, and these threads live for a moment.',
  },
  {
    what: 'Slots of modules of memory',
    difference: /^-device (?:pc-dimm|nvdimm) slot: '\d+' is not there/u,
    why: 'QEMU takes the next one that is free.',
  },
  {
    what: 'Programs for booting from a network',
    difference: /^-device \S+ romfile: '' more/u,
    why: 'A card that is not booted from does not need one, and loading it takes time.',
  },
  {
    what: 'Memory of cells and modules stays out of core dumps',
    difference: /^-object memory-backend-(?:ram|file) dump: 'off' more/u,
    why: 'Said of the memory itself too, not only of the machine.',
  },
  {
    what: 'Memory that others share',
    difference:
      /^-object memory-backend-memfd (?:dump: 'off' more|x-use-canonical-path-for-ramblock-id: 'off' is not there)/u,
    why: 'The other processes of a virtiofs share see the memory of the guest: where a definition has such a share and leaves memory open, ours is shared by itself (memfd), while libvirt wants it said. That it stays out of core dumps is said of the memory itself too; how its blocks are called has been the default since the machine types of 4.0.',
  },
  {
    what: 'Modules of memory that are shared',
    difference: /^-object memory-backend-file: not there|^-object memory-backend-memfd: more/u,
    why: 'libvirt puts them into files of its own folder. Ours are memfd: nothing is written to a disk, and the descriptor goes to whom it is shared with.',
  },
  {
    what: 'Sizes in another unit',
    difference:
      /^-device nvdimm label-size: '131072' is '128k'|^-device virtio-mem-pci (?:block|requested)-size: '\d+' is '\d+k'/u,
    why: 'The same sizes.',
  },
  {
    what: 'How I/O threads poll',
    difference: /^-object iothread poll-\S+: '\d+' more/u,
    why: 'Libvirt 9.0.0, which is compared with, reads over it; later ones know it.',
  },
  {
    what: 'A name of SCSI disks that have no serial number',
    difference: /^-device scsi-(?:hd|cd) device-id: 'drive-\S+' is not there/u,
    why: 'libvirt shows the guest its own name of the drive. What nobody has named has no name with us: it would change with the place of the disk.',
  },
  {
    what: 'The folder of certificates',
    difference: /^-spice x509-dir: 'ROOT\/etc' is '\/etc\/pki\/qemu'/u,
    why: 'libvirt has one for all machines in its configuration, ours one for each screen (tlsDirectory), else that of QEMU.',
  },
  {
    what: 'Sockets of virtiofs',
    difference:
      /^-chardev socket (?:server: 'off' more|fd: '3' more|path: 'ROOT\S*-fs\.sock')|^-device vhost-user-fs-pci chardev:/u,
    why: 'The socket stands in a folder of the process that serves the share. That QEMU is the one to connect is said in so many words, which the monitor needs.',
  },
  {
    what: '`security_model=mapped` of 9p',
    difference: /^-fsdev local security-model: 'mapped' is 'mapped-xattr'/u,
    why: 'Two names of the same.',
  },
  {
    what: 'Queues, offloads and largest packets of virtio cards',
    difference:
      /^-device virtio-net-pci (?:csum|gso|(?:guest|host)[-_]\w+|mq|mrg[-_]rxbuf|rx[-_]queue[-_]size|vectors): '\w+' more/u,
    why: 'When it prints command lines, libvirt makes each card anew with its address and model alone; a started guest has the rest, as ours says.',
  },
  {
    what: 'Queues of disks',
    difference: /^-device virtio-(?:blk|scsi)-pci num[-_]queues: '\d+' more/u,
    why: 'As many as there may be processors. QEMU takes as many as there are at its start: once processors were plugged in, a saved state would not fit the machine that is to read it.',
  },
  {
    what: 'Numbers of the open files of taps',
    difference: /^-netdev tap (?:fds?: '[\d:]+' more|fd: 'N' is (?:not there|'\d+'))/u,
    why: 'Any number will do; with several queues there are several.',
  },
]

/** The entries for a difference. */
export const explain = (difference: string): Explanation[] =>
  explanations.filter((one) => one.difference.test(difference))
