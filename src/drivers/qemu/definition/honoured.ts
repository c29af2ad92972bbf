import { honouredBoard } from './honoured-board.ts'
import { honouredNetwork, honouredScreens, honouredSmallDevices } from './honoured-devices.ts'
import { honouredStorage } from './honoured-storage.ts'

const portKinds = 'pty|unix|file|null|tcp|udp|pipe|dev|vc|spiceport|dbus'
const sourceFields = [
  ...['mode', 'path', 'host', 'service', 'tls', 'tlsDirectory', 'append', 'channel', 'reconnect'],
  ...['reconnectSeconds', 'clipboard', 'mouse', 'peer.*', 'protocol', 'logFile', 'logAppend'],
]

/** All that a definition may set here; see `checkHonoured`. To honour more: an entry here, and the work. */
export const honoured: readonly string[] = [
  ...honouredBoard,
  'cputune.shares',
  ...['vcpu', 'global', 'emulator', 'iothread'].flatMap((whose) => [
    `cputune.${whose}PeriodUs`,
    `cputune.${whose}QuotaUs`,
  ]),
  'memtune.*',
  'blkiotune.weight',
  'blkiotune.devices[].*',
  'onPoweroff=destroy|restart|preserve',
  'onReboot=restart|destroy|preserve',
  'onCrash=destroy|restart|preserve|coredump-destroy|coredump-restart',
  'devices.emulator',
  ...honouredStorage,
  ...honouredNetwork,
  ...addressed('interfaces'),
  ...ports('serials', portKinds),
  'devices.serials[].port',
  'devices.serials[].target=isa-serial|pci-serial|usb-serial|system-serial',
  'devices.serials[].model=isa-serial|pci-serial|usb-serial|pl011|16550a',
  ...ports('parallels', portKinds),
  'devices.parallels[].port',
  ...ports('consoles', portKinds),
  'devices.consoles[].port',
  'devices.consoles[].target=serial|virtio',
  ...ports('channels', `${portKinds}|spicevmc|qemu-vdagent`),
  'devices.channels[].target=virtio',
  'devices.channels[].name',
  ...ports('redirdevs', 'spicevmc|tcp|unix'),
  'devices.redirFilter.*',
  'devices.redirFilter.rules[].*',
  ...ports('smartcards', 'spicevmc|tcp|unix|pty|pipe|udp|null|dev'),
  ...['card', 'certificates', 'database'].map((field) => `devices.smartcards[].${field}`),
  'devices.redirdevs[].bus=usb',
  'devices.redirdevs[].bootOrder',
  'devices.inputs[].type',
  'devices.inputs[].bus',
  ...['hostDevice', 'eventDevice', 'grab', 'grabToggle', 'repeat'].map(
    (field) => `devices.inputs[].${field}`,
  ),
  ...addressed('inputs'),
  ...honouredScreens,
  ...addressed('videos'),
  'devices.memballoon.model',
  'devices.memballoon.autodeflate',
  'devices.memballoon.freePageReporting',
  'devices.memballoon.statsPeriodSeconds',
  'devices.memballoon.address.*',
  'devices.rngs[].model=virtio',
  'devices.rngs[].backend=random|builtin|egd',
  'devices.rngs[].daemonType',
  'devices.rngs[].daemonMode',
  'devices.rngs[].daemonPath',
  'devices.rngs[].daemonHost',
  'devices.rngs[].daemonService',
  'devices.rngs[].daemonProtocol=raw',
  'devices.rngs[].source',
  'devices.rngs[].rateBytes',
  'devices.rngs[].ratePeriodMs',
  ...addressed('rngs'),
  ...honouredSmallDevices,
]

function addressed(kind: string): string[] {
  return [`devices.${kind}[].alias`, `devices.${kind}[].address.*`]
}

/** A device with a host side of these kinds; what means nothing to a kind is refused where it is checked. */
function ports(kind: string, types: string): string[] {
  return [
    `devices.${kind}[].type=${types}`,
    ...sourceFields.map((field) => `devices.${kind}[].${field}`),
    ...addressed(kind),
  ]
}
