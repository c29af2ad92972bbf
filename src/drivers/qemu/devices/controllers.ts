/** Controllers as devices of QEMU. */
import type { Controller, Devices } from '../../../model/index.ts'
import { pciRoot } from '../board/machine-type.ts'
import type { Fields } from '../definition/key-value.ts'
import { device, type Part } from '../definition/parts.ts'
import { unknownName } from '../definition/unknown-name.ts'
import { unsupported } from '../definition/unsupported.ts'
import { virtioName, virtioOptions } from '../disks/disk-device.ts'
import { controllersNeeded, isVirtioScsi } from '../disks/disk-place.ts'
import { type Place, pci } from './device-place.ts'
import { pciControllerParts } from './pci-controllers.ts'

export function controllerParts(controller: Controller, place: Place): Part[] {
  const { type, model, index = 0 } = controller
  const fields = { id: `${type}${index}`, ...pci(controller.address, place) }
  switch (type) {
    case 'pci':
      return pciControllerParts(controller, place)
    case 'sata':
      // The first one of a q35 is in its chip set.
      return place.family === 'q35' && index === 0 ? [] : [device('ich9-ahci', fields)]
    case 'ide':
      if (place.family === 'pc' && index === 0) return []
      throw unsupported('devices.controllers', 'there is no other IDE controller than that of a pc')
    case 'fdc':
      return index === 0 ? floppyController(place) : cannot(controller)
    case 'usb':
      return model === 'none' ? [] : usbController(controller, fields)
    case 'virtio-serial':
      return [virtioSerial(controller, fields)]
    case 'scsi':
      return [scsiController(controller, fields, place)]
    case 'nvme':
      return [device('nvme', { ...fields, serial: controller.serial ?? `nvme${index}` })]
    case 'ccid':
      return [device('usb-ccid', { id: fields.id })]
    case 'isa':
      return []
    default:
      return cannot(controller)
  }
}

function cannot({ alias, type, model, modelName }: Controller): never {
  const models: Readonly<Record<string, readonly string[]>> = {
    scsi: ['virtio-scsi', ...Object.keys(scsiModels)],
    usb: Object.keys(usbModels),
    'virtio-serial': serialModels,
  }
  const known = models[type]
  const name = modelName ?? model ?? 'no model'
  const what = `'${alias}' (${type}, ${name}) cannot be had`
  if (known === undefined) throw unsupported('devices.controllers', what)
  throw unknownName('devices.controllers', { what, name, known })
}

function floppyController({ family }: Place): Part[] {
  return family === 'q35' ? [device('isa-fdc', { id: 'fdc0' })] : []
}

const serialModels = ['virtio', 'virtio-transitional', 'virtio-non-transitional']

function virtioSerial(controller: Controller, fields: Fields): Part {
  const { model, ports, vectors } = controller
  if (model !== undefined && !serialModels.includes(model)) cannot(controller)
  return device(virtioName('virtio-serial', model), {
    ...fields,
    max_ports: ports,
    vectors,
    ioeventfd: controller.ioEventFd,
    ...virtioOptions(controller),
  })
}

const scsiModels: Readonly<Record<string, string>> = {
  lsilogic: 'lsi53c895a',
  lsisas1068: 'mptsas1068',
  lsisas1078: 'megasas',
  vmpvscsi: 'pvscsi',
  am53c974: 'am53c974',
  dc390: 'dc390',
}

function scsiController(controller: Controller, fields: Fields, { queues: most }: Place): Part {
  const { model, queues, commandsPerLun, maxSectors, ioEventFd, ioThread } = controller
  if (isVirtioScsi(model)) {
    const transitional = model?.startsWith('virtio-') && model !== 'virtio-scsi' ? model : undefined
    return device(virtioName('virtio-scsi', transitional), {
      ...fields,
      num_queues: queues ?? most,
      cmd_per_lun: commandsPerLun,
      max_sectors: maxSectors,
      ioeventfd: ioEventFd,
      iothread: ioThread === undefined ? undefined : `iothread${ioThread}`,
      ...virtioOptions(controller),
    })
  }
  const driver = scsiModels[model ?? '']
  if (driver === undefined) return cannot(controller)
  for (const name of ['queues', 'commandsPerLun', 'maxSectors', 'ioEventFd', 'ioThread'] as const)
    if (controller[name] !== undefined)
      throw unsupported(`devices.controllers`, `'${name}' is of the model 'virtio-scsi', not of '${model}'`)
  return device(driver, fields)
}

const usbModels: Readonly<Record<string, string>> = {
  'qemu-xhci': 'qemu-xhci',
  'nec-xhci': 'nec-usb-xhci',
  'piix3-uhci': 'piix3-usb-uhci',
  'piix4-uhci': 'piix4-usb-uhci',
  ehci: 'usb-ehci',
  'ich9-ehci1': 'ich9-usb-ehci1',
  'ich9-uhci1': 'ich9-usb-uhci1',
  'ich9-uhci2': 'ich9-usb-uhci2',
  'ich9-uhci3': 'ich9-usb-uhci3',
  'pci-ohci': 'pci-ohci',
}

/** A companion takes over the slow ports of a USB 2 controller of the same number. */
function usbController(controller: Controller, { id, ...fields }: Fields): Part[] {
  const { model, ports, startPort } = controller
  const driver = usbModels[model ?? 'qemu-xhci']
  if (driver === undefined) return cannot(controller)
  if (startPort !== undefined)
    return [device(driver, { masterbus: `${id}.0`, firstport: startPort, ...fields })]
  const isXhci = driver.endsWith('xhci')
  return [device(driver, { id, ...fields, ...(isXhci ? { p2: ports, p3: ports } : {}) })]
}

/** The controllers that devices need and the definition does not name. */
export function impliedControllers(devices: Devices, place: Place): Part[] {
  const { family, queues } = place
  const has = (type: string, index = 0) =>
    devices.controllers.some((one) => one.type === type && (one.index ?? 0) === index)
  const usb =
    devices.inputs.some(({ bus }) => bus === 'usb') ||
    devices.disks.some(({ bus }) => bus === 'usb') ||
    devices.serials.some(({ target }) => target === 'usb-serial')
  const serial = devices.channels.length > 0 || devices.consoles.some(({ target }) => target === 'virtio')
  const bus = pciRoot(family)
  const missing = (type: 'sata' | 'scsi') =>
    Array.from({ length: controllersNeeded(devices, type) }, (_, index) => index).filter(
      (index) => !has(type, index),
    )
  return [
    ...(usb && !has('usb') ? [device('qemu-xhci', { id: 'usb0', bus })] : []),
    ...(serial && !has('virtio-serial') ? [device('virtio-serial-pci', { id: 'virtio-serial0', bus })] : []),
    ...missing('sata')
      .filter((index) => index > 0 || family !== 'q35')
      .map((index) => device('ich9-ahci', { id: `sata${index}`, bus })),
    ...missing('scsi').map((index) =>
      device('virtio-scsi-pci', { id: `scsi${index}`, bus, num_queues: queues }),
    ),
    ...(devices.disks.some((disk) => disk.bus === 'fdc') && !has('fdc') ? floppyController(place) : []),
  ]
}
