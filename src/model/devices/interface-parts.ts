/** Parts of network interfaces. Source: libvirt's "Domain XML format", devices. */
import { unknown } from '../domain-words.ts'
import * as s from '../schema.ts'

const kilobytes = <const X extends string>(doc: string, xml: X) =>
  s.integer(doc, { xml, optional: true, min: 0, max: 4_294_967_295 })

export const Bandwidth = s.object('Bandwidth', 'Limits in one direction', {
  averageKBps: kilobytes('kilobytes per second in the long run', '@average'),
  peakKBps: kilobytes('kilobytes per second in a burst', '@peak'),
  floorKBps: kilobytes('kilobytes per second that are sure', '@floor'),
  burstKiB: kilobytes('KiB that pass at the speed of a burst', '@burst'),
  unknown,
})

const offload = <const X extends string>(doc: string, xml: X) =>
  s.boolean(doc, { xml, as: 'on-off', optional: true })

/** Of virtio cards. */
export const HostOffloads = s.object('HostOffloads', 'Work that the host does for the guest', {
  csum: offload('checksums', '@csum'),
  gso: offload('cutting of segments', '@gso'),
  tso4: offload('cutting of segments of TCP over IPv4', '@tso4'),
  tso6: offload('cutting of segments of TCP over IPv6', '@tso6'),
  ecn: offload('cutting of segments with congestion marks', '@ecn'),
  ufo: offload('cutting of UDP packets', '@ufo'),
  mergeBuffers: offload('packets over several buffers', '@mrg_rxbuf'),
  unknown,
})

export const GuestOffloads = s.object('GuestOffloads', 'What the guest takes as it comes', {
  csum: offload('packets without checksum', '@csum'),
  tso4: offload('large segments of TCP over IPv4', '@tso4'),
  tso6: offload('large segments of TCP over IPv6', '@tso6'),
  ecn: offload('large segments with congestion marks', '@ecn'),
  ufo: offload('large UDP packets', '@ufo'),
  unknown,
})

export const VlanTag = s.object('VlanTag', 'A virtual LAN', {
  id: s.integer('its number', { xml: '@id', min: 0, max: 4095 }),
  nativeMode: s.choice('how packets without a tag belong to it', ['tagged', 'untagged'], {
    xml: '@nativeMode',
    optional: true,
  }),
  unknown,
})

export type Bandwidth = s.Output<typeof Bandwidth>
export type VlanTag = s.Output<typeof VlanTag>
