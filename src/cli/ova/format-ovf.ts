/** The OVF of a machine. Source: DMTF DSP0243 1.1, as VMware and VirtualBox read it. */
import type { OvfBus } from './ovf.ts'

export interface DescribedDisk {
  readonly file: string
  readonly sizeBytes: number
  readonly capacityBytes: number
  readonly bus: OvfBus
}

export interface DescribedMachine {
  readonly name: string
  readonly cpus: number
  readonly memoryMiB: number
  readonly efi: boolean
  readonly scsiSubtype: string
  readonly disks: readonly DescribedDisk[]
  /** In the words of OVF: E1000, VmxNet3. */
  readonly cards: readonly string[]
}

const escapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
}
const escapeXml = (text: string) => text.replace(/[&<>"']/gu, (letter) => escapes[letter] ?? letter)

const controllers: Readonly<Record<OvfBus, { readonly resource: number; readonly subtype: string }>> = {
  ide: { resource: 5, subtype: 'PIIX4' },
  sata: { resource: 20, subtype: 'AHCI' },
  scsi: { resource: 6, subtype: '' },
  nvme: { resource: 20, subtype: 'vmware.nvme.controller' },
  // What no other hypervisor has a word for.
  virtio: { resource: 20, subtype: 'AHCI' },
}

export function formatOvf({
  name,
  cpus,
  memoryMiB,
  efi,
  scsiSubtype,
  disks,
  cards,
}: DescribedMachine): string {
  const buses = [...new Set(disks.map(({ bus }) => bus))]
  const controllerId = (bus: OvfBus) => 10 + buses.indexOf(bus)
  const items = [
    item({ id: 1, resource: 3, name: `${cpus} processors`, quantity: cpus, units: 'hertz * 10^6' }),
    item({
      id: 2,
      resource: 4,
      name: `${memoryMiB} MiB of memory`,
      quantity: memoryMiB,
      units: 'byte * 2^20',
    }),
    ...buses.map((bus) => {
      const { resource, subtype } = controllers[bus]
      return item({
        id: controllerId(bus),
        resource,
        subtype: subtype || scsiSubtype,
        name: `controller ${bus}`,
        address: 0,
      })
    }),
    ...disks.map(({ bus }, index) =>
      item({
        ...{ id: 30 + index, resource: 17, name: `disk ${index}`, host: `ovf:/disk/disk${index}` },
        ...{
          parent: controllerId(bus),
          onParent: disks.slice(0, index).filter((disk) => disk.bus === bus).length,
        },
      }),
    ),
    ...cards.map((subtype, index) =>
      item({
        id: 60 + index,
        resource: 10,
        subtype,
        name: `network card ${index}`,
        connection: 'network',
        onParent: index,
      }),
    ),
  ]
  return `<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData" xmlns:vmw="http://www.vmware.com/schema/ovf">
  <References>
${disks.map(({ file, sizeBytes }, index) => `    <File ovf:id="file${index}" ovf:href="${escapeXml(file)}" ovf:size="${sizeBytes}"/>`).join('\n')}
  </References>
  <DiskSection>
    <Info>The disks</Info>
${disks.map(({ capacityBytes }, index) => `    <Disk ovf:diskId="disk${index}" ovf:fileRef="file${index}" ovf:capacity="${capacityBytes}" ovf:capacityAllocationUnits="byte" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>`).join('\n')}
  </DiskSection>
  <NetworkSection>
    <Info>The networks</Info>
    <Network ovf:name="network">
      <Description>Any network</Description>
    </Network>
  </NetworkSection>
  <VirtualSystem ovf:id="${escapeXml(name)}">
    <Info>A machine</Info>
    <Name>${escapeXml(name)}</Name>
    <OperatingSystemSection ovf:id="102">
      <Info>Another operating system, 64 bits</Info>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>The hardware</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>${escapeXml(name)}</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>vmx-13</vssd:VirtualSystemType>
      </System>
${items.join('\n')}${efi ? '\n      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>' : ''}
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
`
}

interface Wanted {
  readonly id: number
  readonly resource: number
  readonly name: string
  readonly address?: number
  readonly onParent?: number
  readonly units?: string
  readonly connection?: string
  readonly host?: string
  readonly parent?: number
  readonly subtype?: string
  readonly quantity?: number
}

/** Elements stand in the order of their names, as the schema wants them. */
function item({
  id,
  resource,
  name,
  address,
  onParent,
  units,
  connection,
  host,
  parent,
  subtype,
  quantity,
}: Wanted): string {
  const lines: readonly (readonly [string, string | number | undefined])[] = [
    ['Address', address],
    ['AddressOnParent', onParent],
    ['AllocationUnits', units],
    ['AutomaticAllocation', connection === undefined ? undefined : 'true'],
    ['Connection', connection],
    ['ElementName', name],
    ['HostResource', host],
    ['InstanceID', id],
    ['Parent', parent],
    ['ResourceSubType', subtype],
    ['ResourceType', resource],
    ['VirtualQuantity', quantity],
  ]
  const written = lines.flatMap(([key, value]) =>
    value === undefined ? [] : [`        <rasd:${key}>${escapeXml(String(value))}</rasd:${key}>`],
  )
  return `      <Item>\n${written.join('\n')}\n      </Item>`
}
