/** Controllers as arguments of QEMU. */
import type { Controller, Devices } from '../../model/index.ts'
import { type Place, pci } from './device-place.ts'
import type { Fields } from './key-value.ts'
import { pciRoot } from './machine-type.ts'
import { device, type Part } from './parts.ts'
import { unsupported } from './unsupported.ts'

export function controllerParts(controller: Controller, place: Place): Part[] {
  const { type, model, modelName, index = 0, alias } = controller
  const fields = { id: `${type}${index}`, ...pci(controller.address, place) }
  if (type === 'pci') return pciController(controller, place)
  // Those of the chip set are there already.
  if ((type === 'sata' && place.family === 'q35') || (type === 'ide' && place.family === 'pc')) {
    if (index === 0) return []
    throw unsupported('devices.controllers', `there is only one controller of type '${type}'`)
  }
  if (type === 'usb') return model === 'none' ? [] : usbController(controller, fields)
  if (type === 'virtio-serial')
    return [device('virtio-serial-pci', { ...fields, max_ports: controller.ports })]
  if (type === 'scsi' && (model === undefined || model === 'virtio-scsi'))
    return [device('virtio-scsi-pci', fields)]
  throw unsupported(
    'devices.controllers',
    `'${alias}' (${type}, ${modelName ?? model ?? 'no model'}) cannot be had`,
  )
}

function pciController(
  { model, index = 0, chassis, port, address, alias }: Controller,
  place: Place,
): Part[] {
  if (model === 'pcie-root' || model === 'pci-root' || (model === undefined && index === 0)) return []
  const fields = { id: `pci.${index}`, ...pci(address, place) }
  if (model === 'pcie-root-port')
    return [device('pcie-root-port', { ...fields, chassis: chassis ?? index, port: port ?? index })]
  if (model === 'pcie-to-pci-bridge') return [device('pcie-pci-bridge', fields)]
  if (model === 'pci-bridge') return [device('pci-bridge', { ...fields, chassis_nr: chassis ?? index })]
  throw unsupported('devices.controllers', `'${alias}' (pci, ${model ?? 'no model'}) cannot be had`)
}

function usbController({ model, ports, startPort, alias }: Controller, fields: Fields): Part[] {
  const drivers: Readonly<Record<string, string>> = {
    'qemu-xhci': 'qemu-xhci',
    'nec-xhci': 'nec-usb-xhci',
    'piix3-uhci': 'piix3-usb-uhci',
    'piix4-uhci': 'piix4-usb-uhci',
    ehci: 'usb-ehci',
  }
  const driver = drivers[model ?? 'qemu-xhci']
  if (!driver || startPort !== undefined)
    throw unsupported('devices.controllers', `'${alias}' (usb, ${model}) cannot be had`, "Use 'qemu-xhci'.")
  const isXhci = driver.endsWith('xhci')
  return [device(driver, { ...fields, ...(isXhci ? { p2: ports, p3: ports } : {}) })]
}

/** The controllers that devices need and the definition does not name. */
export function impliedControllers(devices: Devices, { family }: Place): Part[] {
  const has = (type: string) => devices.controllers.some((one) => one.type === type)
  const usb =
    devices.inputs.some(({ bus }) => bus === 'usb') ||
    devices.disks.some(({ bus }) => bus === 'usb') ||
    devices.serials.some(({ target }) => target === 'usb-serial')
  const serial = devices.channels.length > 0 || devices.consoles.some(({ target }) => target === 'virtio')
  const bus = pciRoot(family)
  return [
    ...(usb && !has('usb') ? [device('qemu-xhci', { id: 'usb0', bus })] : []),
    ...(serial && !has('virtio-serial') ? [device('virtio-serial-pci', { id: 'virtio-serial0', bus })] : []),
    ...(devices.disks.some((disk) => disk.bus === 'scsi') && !has('scsi')
      ? [device('virtio-scsi-pci', { id: 'scsi0', bus })]
      : []),
  ]
}
