/** Buses of PCI as devices of QEMU. Source: QEMU's docs/pcie.txt and docs/pci_expander_bridge.txt. */
import type { Controller } from '../../../model/index.ts'
import type { Fields } from '../definition/key-value.ts'
import { atStart, device, type Part } from '../definition/parts.ts'
import { unsupported } from '../definition/unsupported.ts'
import { type Place, pci } from './device-place.ts'

type Make = (controller: Controller, fields: Fields) => readonly [driver: string, fields: Fields]

const makers: Readonly<Record<string, Make>> = {
  'pcie-root-port': ({ chassis, port, index = 0, hotplug, modelName }, fields) => [
    modelName === 'ioh3420' ? 'ioh3420' : 'pcie-root-port',
    {
      ...fields,
      chassis: chassis ?? index,
      port: port ?? index,
      hotplug: hotplug === false ? false : undefined,
    },
  ],
  'pcie-to-pci-bridge': (_, fields) => ['pcie-pci-bridge', fields],
  'dmi-to-pci-bridge': (_, fields) => ['i82801b11-bridge', fields],
  'pci-bridge': ({ chassisNr, chassis, index = 0, hotplug }, fields) => [
    'pci-bridge',
    { ...fields, chassis_nr: chassisNr ?? chassis ?? index, shpc: hotplug === false ? false : undefined },
  ],
  'pcie-switch-upstream-port': (_, fields) => ['x3130-upstream', fields],
  'pcie-switch-downstream-port': ({ chassis, port, index = 0, hotplug }, fields) => [
    'xio3130-downstream',
    { ...fields, chassis: chassis ?? index, port: port ?? 0, hotplug: hotplug === false ? false : undefined },
  ],
  'pci-expander-bus': ({ busNr, node }, fields) => ['pxb', { ...fields, bus_nr: busNr, numa_node: node }],
  'pcie-expander-bus': ({ busNr, node }, fields) => [
    'pxb-pcie',
    { ...fields, bus_nr: busNr, numa_node: node },
  ],
}

export function pciControllerParts(controller: Controller, place: Place): Part[] {
  const { model, index = 0, address, alias } = controller
  if (model === 'pcie-root' || model === 'pci-root' || (model === undefined && index === 0))
    return pciHole(controller, place)
  const make = model === undefined ? undefined : makers[model]
  if (!make)
    throw unsupported('devices.controllers', `'${alias}' (pci, ${model ?? 'no model'}) cannot be had`)
  const [driver, fields] = make(controller, { id: `pci.${index}`, ...pci(address, place) })
  if (driver.startsWith('pxb') && fields.bus_nr === undefined)
    throw unsupported('devices.controllers', `'${alias}' needs the number of its first bus: busNr`)
  return [device(driver, fields)]
}

function pciHole({ pciHole64KiB }: Controller, { family }: Place): Part[] {
  if (pciHole64KiB === undefined) return []
  const host = { q35: 'q35-pcihost', pc: 'i440FX-pcihost' }[family as string]
  if (host === undefined)
    throw unsupported('devices.controllers', 'this machine has no 64-bit window of PCI memory')
  return [atStart('-global', `${host}.pci-hole64-size=${pciHole64KiB}K`)]
}
