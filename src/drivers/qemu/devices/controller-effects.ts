/** Settings of controllers that would change nothing. */
import type { Controller } from '../../../model/index.ts'
import { only, type Vain } from './vain-settings.ts'

type Fields = readonly (keyof Controller)[]

const virtio: Fields = ['iommu', 'ats', 'packed', 'pagePerVq']
const scsi: Fields = ['queues', 'commandsPerLun', 'maxSectors', 'ioEventFd', 'ioThread']
const pci: Fields = ['chassisNr', 'chassis', 'port', 'busNr', 'hotplug', 'node', 'pciHole64KiB']
const all: Fields = [
  ...scsi,
  ...virtio,
  ...pci,
  'model',
  'modelName',
  'ports',
  'vectors',
  'serial',
  'startPort',
]

/** What each kind of controller has beside its number. */
const kinds: Readonly<Record<string, Fields>> = {
  usb: ['model', 'ports', 'startPort'],
  scsi: ['model', ...scsi, ...virtio],
  'virtio-serial': ['model', 'ports', 'vectors', 'ioEventFd', ...virtio],
  nvme: ['serial'],
  ide: ['model'],
}

/** What each kind of PCI bus has, and QEMU's names of what makes it. */
const buses: Readonly<Record<string, readonly [names: readonly string[], fields: Fields]>> = {
  'pcie-root': [[], ['pciHole64KiB']],
  'pci-root': [[], ['pciHole64KiB']],
  'pcie-root-port': [
    ['pcie-root-port', 'ioh3420'],
    ['chassis', 'port', 'hotplug'],
  ],
  'pcie-switch-upstream-port': [['x3130-upstream'], []],
  'pcie-switch-downstream-port': [['xio3130-downstream'], ['chassis', 'port', 'hotplug']],
  'pcie-to-pci-bridge': [['pcie-pci-bridge'], []],
  'dmi-to-pci-bridge': [['i82801b11-bridge'], []],
  'pci-bridge': [['pci-bridge'], ['chassisNr', 'chassis', 'hotplug']],
  'pci-expander-bus': [['pxb'], ['busNr', 'node']],
  'pcie-expander-bus': [['pxb-pcie'], ['busNr', 'node']],
}

export function ofController(one: Controller): Vain[] {
  const { type, model = 'pcie-root', modelName } = one
  if (type !== 'pci') return others(one, kinds[type] ?? [])
  const [names, fields] = buses[model] ?? [[], []]
  const wrong = modelName !== undefined && !names.includes(modelName)
  return [
    ...(wrong ? [['modelName', `'${modelName}' makes no bus of model '${model}'`] as const] : []),
    ...others(one, ['model', 'modelName', ...fields]),
  ]
}

function others(one: Controller, own: Fields): Vain[] {
  const fields = all.filter((field) => !own.includes(field))
  return only(one, false, 'other kinds of controllers', fields)
}
